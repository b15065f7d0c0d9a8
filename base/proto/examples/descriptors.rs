//! Makes `descriptors.bin.z` and `descriptors.version` from the `envoy-types` that Cargo.lock names.
//!
//! `envoy-types` ships the descriptors of its messages beside its generated code but does not export them.
//! We take them, strip comments and positions, and compress them. Run after every update of `envoy-types`:
//! `cargo run -p meltemi-proto --example descriptors`.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;

use prost::Message;
use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let metadata = cargo_metadata::MetadataCommand::new().manifest_path(here.join("Cargo.toml")).exec()?;
    let envoy = metadata
        .packages
        .iter()
        .find(|package| package.name == "envoy-types")
        .ok_or("envoy-types is not among the dependencies")?;
    let source = envoy.manifest_path.with_file_name("src").join("generated").join("types.bin");
    let mut set = FileDescriptorSet::decode(fs::read(source)?.as_slice())?;
    for file in &mut set.file {
        file.source_code_info = None;
    }
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&set.encode_to_vec())?;
    let bytes = encoder.finish()?;
    println!("{} files, {} bytes compressed", set.file.len(), bytes.len());
    fs::write(here.join("descriptors.bin.z"), bytes)?;
    fs::write(here.join("descriptors.version"), format!("{}\n", envoy.version))?;
    Ok(())
}
