//! Compiles our few `.proto` files in pure Rust; Envoy's come ready-made from `envoy-types`.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use prost_build::Config;
use protox::prost::Message;

const FILES: [&str; 8] = [
    "ca.proto",
    "stats.proto",
    "peer_metadata.proto",
    "alpn.proto",
    "nds.proto",
    "metadata_exchange.proto",
    "udpa_typed_struct.proto",
    "xds_typed_struct.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);

    // The reflection pool takes google.protobuf from the Envoy descriptors, so only our own files go in.
    let mut own = set.clone();
    own.file.retain(|file| !file.name().starts_with("google/"));
    for file in &mut own.file {
        file.source_code_info = None;
    }
    fs::write(out.join("own_descriptors.bin"), own.encode_to_vec())?;

    let mut config = Config::new();
    config.compile_well_known_types();
    config.extern_path(".google.protobuf", "::envoy_types::pb::google::protobuf");
    config.enable_type_names();
    // Equal tables must be equal bytes.
    config.btree_map([".istio.networking.nds.v1"]);
    config.type_name_domain(["."], "type.googleapis.com");
    tonic_prost_build::configure().compile_fds_with_config(set, config)?;
    Ok(())
}
