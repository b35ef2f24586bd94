//! Generates the wire types, their JSON mapping and the gRPC services from `proto/`, without
//! protoc. One descriptor set feeds the code and server reflection.

use std::path::{Path, PathBuf};

use prost::Message as _;

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script by the environment")]
fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files: Vec<PathBuf> =
        ["channel", "custody", "engine", "identity", "ingest", "notification", "routing"]
            .iter()
            .map(|area| root.join(format!("mainstem/{area}/v1/{area}.proto")))
            .collect();
    let descriptors = protox::compile(&files, [&root])?;
    let encoded = descriptors.encode_to_vec();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("mainstem.bin"), &encoded)?;

    let mut config = tonic_prost_build::Config::new();
    config.compile_well_known_types().extern_path(".google.protobuf", "::pbjson_types");
    config.bytes(["."]).btree_map(["."]);
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    pbjson_build::Builder::new()
        .register_descriptors(&encoded)?
        .ignore_unknown_fields()
        .btree_map(["."])
        .build(&[".mainstem"])?;
    Ok(())
}
