//! Holds the crates to the house's floors: imports go strictly downward, and never between the two planes.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The columns of the house. A crate may import its own column, and those listed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Base,
    Control,
    Data,
    Local,
    App,
    Dev,
}

impl Column {
    fn may_import(self, other: Column) -> bool {
        match self {
            Self::Base => other == Self::Base,
            Self::Control => matches!(other, Self::Control | Self::Base),
            Self::Data => matches!(other, Self::Data | Self::Base),
            Self::Local => matches!(other, Self::Local | Self::Base),
            Self::App => !matches!(other, Self::Dev),
            Self::Dev => true,
        }
    }
}

/// Every crate of the house: its column and its floor. A crate imports lower floors only.
const HOUSE: &[(&str, Column, u8)] = &[
    ("meltemi-proto", Column::Base, 0),
    ("meltemi-identity", Column::Base, 0),
    ("meltemi-process", Column::Base, 0),
    ("meltemi-xds", Column::Base, 1),
    ("meltemi-config", Column::Control, 2),
    ("meltemi-mesh", Column::Control, 3),
    ("meltemi-inject", Column::Control, 3),
    ("meltemi-translate", Column::Control, 4),
    ("meltemi-analyze", Column::Control, 4),
    ("meltemi-istiod", Column::Control, 5),
    ("meltemi-proxy", Column::Data, 2),
    ("meltemi-agent", Column::Data, 3),
    ("meltemi-samples", Column::Local, 2),
    ("meltemi-apiserver", Column::Local, 2),
    // The node implements the API server's kubelet interface, hence one floor above it.
    ("meltemi-node", Column::Local, 3),
    ("meltemi", Column::App, 8),
    ("meltemi-testkit", Column::Dev, 9),
    ("meltemi-bench", Column::Dev, 9),
];

fn house() -> BTreeMap<&'static str, (Column, u8)> {
    HOUSE.iter().map(|(name, column, floor)| (*name, (*column, *floor))).collect()
}

#[test]
fn imports_go_downward_and_never_between_the_planes() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata");
    let house = house();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some(&(column, floor)) = house.get(package.name.as_str()) else {
            wrong.push(format!("{} is not in the house's table; give it a floor", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(&(other, below)) = house.get(dependency.name.as_str()) else { continue };
            let test_only = dependency.kind == DependencyKind::Development;
            if other == Column::Dev && test_only {
                continue;
            }
            if !column.may_import(other) || below >= floor {
                wrong.push(format!("{} must not import {}", package.name, dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "the house's floors are broken:\n{}", wrong.join("\n"));
}

#[test]
fn crates_stand_in_the_folder_of_their_column() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata");
    for package in &metadata.packages {
        let folder =
            package.manifest_path.parent().and_then(|path| path.parent()).and_then(|path| path.file_name());
        let column =
            house().get(package.name.as_str()).map(|(column, _)| format!("{column:?}").to_lowercase());
        assert_eq!(folder.map(str::to_owned), column, "{}", package.name);
    }
}
