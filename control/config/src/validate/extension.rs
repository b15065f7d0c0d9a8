//! WasmPlugin and TrafficExtension.

use crate::istio::wasm_plugin::{EnvValueSource, TrafficSelector, VmConfig};
use crate::istio::{TrafficExtension, WasmPlugin};
use crate::path::Path;

use super::names;
use super::report::Report;

/// Largest script, in bytes.
const MAX_SCRIPT: usize = 64 << 10;

pub(super) fn wasm_plugin(spec: &WasmPlugin, path: &Path, report: &mut Report) {
    if let Some(selector) = &spec.selector {
        names::labels(&selector.match_labels, &path.key("selector").key("matchLabels"), report);
    }
    module(&spec.url, &spec.sha256, path, report);
    vm_config(spec.vm_config.as_ref(), &path.key("vmConfig"), report);
    matches(&spec.matches, &path.key("match"), report);
}

pub(super) fn traffic_extension(spec: &TrafficExtension, path: &Path, report: &mut Report) {
    if let Some(selector) = &spec.selector {
        names::labels(&selector.match_labels, &path.key("selector").key("matchLabels"), report);
    }
    match (&spec.wasm, &spec.lua) {
        (Some(wasm), _) => {
            let path = path.key("wasm");
            module(&wasm.url, &wasm.sha256, &path, report);
            vm_config(wasm.vm_config.as_ref(), &path.key("vmConfig"), report);
        }
        (None, Some(lua)) => {
            let path = path.key("lua").key("inlineCode");
            report.required(&path, &lua.inline_code, "the script");
            if lua.inline_code.len() > MAX_SCRIPT {
                report.error(&path, "the script is longer than 64 KiB", "shorten it");
            }
        }
        (None, None) => report.error(path, "there is no extension", "add `wasm` or `lua`"),
    }
    matches(&spec.matches, &path.key("match"), report);
}

fn module(url: &str, sha256: &str, path: &Path, report: &mut Report) {
    if report.required(&path.key("url"), url, "the module's address")
        && let Some((scheme, rest)) = url.split_once("://")
    {
        if !matches!(scheme, "oci" | "http" | "https" | "file") {
            report.error(
                &path.key("url"),
                format!("{scheme:?} is no scheme of a module"),
                "write oci, https, http or file",
            );
        }
        if rest.is_empty() {
            report.error(&path.key("url"), "the address is empty", "");
        }
    }
    if !sha256.is_empty() && (sha256.len() != 64 || !sha256.chars().all(|c| c.is_ascii_hexdigit())) {
        report.error(&path.key("sha256"), "is no SHA-256", "write 64 hexadecimal digits");
    }
}

fn vm_config(config: Option<&VmConfig>, path: &Path, report: &mut Report) {
    let variables = config.map(|config| config.env.as_slice()).unwrap_or_default();
    for (position, variable) in variables.iter().enumerate() {
        let path = path.key("env").index(position);
        report.required(&path.key("name"), &variable.name, "the variable's name");
        if variables[..position].iter().any(|before| before.name == variable.name) {
            report.error(
                &path.key("name"),
                format!("variable {:?} stands twice", variable.name),
                "remove one",
            );
        }
        if variable.value_from == EnvValueSource::Host && !variable.value.is_empty() {
            report.error(&path.key("value"), "a variable of the host has no value here", "remove it");
        }
    }
}

fn matches(selectors: &[TrafficSelector], path: &Path, report: &mut Report) {
    for (position, selector) in selectors.iter().enumerate() {
        for (which, port) in selector.ports.iter().enumerate() {
            report.port(&path.index(position).key("ports").index(which).key("number"), port.number);
        }
    }
}
