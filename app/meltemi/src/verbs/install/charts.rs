//! The charts, profiles and profile values of `manifests/`, built into the binary.

use super::template::Chart;

macro_rules! text {
    ($path:literal) => {
        include_str!(concat!("../../../manifests/", $path))
    };
}

/// What all revisions share.
pub const BASE: Chart = Chart {
    name: "base",
    values: text!("charts/base/values.yaml"),
    helpers: &[],
    templates: &[
        ("namespace.yaml", text!("charts/base/templates/namespace.yaml")),
        ("reader-serviceaccount.yaml", text!("charts/base/templates/reader-serviceaccount.yaml")),
    ],
};

/// The control plane.
pub const ISTIOD: Chart = Chart {
    name: "istiod",
    values: text!("charts/istiod/values.yaml"),
    helpers: &[text!("charts/istiod/templates/_helpers.tpl")],
    templates: &[
        ("serviceaccount.yaml", text!("charts/istiod/templates/serviceaccount.yaml")),
        ("clusterrole.yaml", text!("charts/istiod/templates/clusterrole.yaml")),
        ("role.yaml", text!("charts/istiod/templates/role.yaml")),
        ("configmap.yaml", text!("charts/istiod/templates/configmap.yaml")),
        ("injector-configmap.yaml", text!("charts/istiod/templates/injector-configmap.yaml")),
        ("mutatingwebhook.yaml", text!("charts/istiod/templates/mutatingwebhook.yaml")),
        ("validatingwebhook.yaml", text!("charts/istiod/templates/validatingwebhook.yaml")),
        ("service.yaml", text!("charts/istiod/templates/service.yaml")),
        ("deployment.yaml", text!("charts/istiod/templates/deployment.yaml")),
        ("autoscale.yaml", text!("charts/istiod/templates/autoscale.yaml")),
        ("poddisruptionbudget.yaml", text!("charts/istiod/templates/poddisruptionbudget.yaml")),
    ],
};

/// An ingress or egress gateway.
pub const GATEWAY: Chart = Chart {
    name: "gateway",
    values: text!("charts/gateway/values.yaml"),
    helpers: &[text!("charts/gateway/templates/_helpers.tpl")],
    templates: &[
        ("serviceaccount.yaml", text!("charts/gateway/templates/serviceaccount.yaml")),
        ("role.yaml", text!("charts/gateway/templates/role.yaml")),
        ("service.yaml", text!("charts/gateway/templates/service.yaml")),
        ("deployment.yaml", text!("charts/gateway/templates/deployment.yaml")),
        ("autoscale.yaml", text!("charts/gateway/templates/autoscale.yaml")),
        ("poddisruptionbudget.yaml", text!("charts/gateway/templates/poddisruptionbudget.yaml")),
    ],
};

/// Name and IstioOperator of every profile, in the order in which they are listed.
pub const PROFILES: &[(&str, &str)] = &[
    ("default", text!("profiles/default.yaml")),
    ("demo", text!("profiles/demo.yaml")),
    ("empty", text!("profiles/empty.yaml")),
    ("minimal", text!("profiles/minimal.yaml")),
    ("openshift", text!("profiles/openshift.yaml")),
    ("preview", text!("profiles/preview.yaml")),
    ("remote", text!("profiles/remote.yaml")),
    ("stable", text!("profiles/stable.yaml")),
];

/// What a profile changes of the charts' values; a profile that is not here changes nothing.
pub const PROFILE_VALUES: &[(&str, &str)] = &[
    ("demo", text!("values/demo.yaml")),
    ("preview", text!("values/preview.yaml")),
    ("remote", text!("values/remote.yaml")),
];
