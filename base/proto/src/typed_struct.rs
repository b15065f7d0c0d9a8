//! The two spellings of `TypedStruct`: a configuration given as a free structure with the type it stands for.

/// `udpa.type.v1.TypedStruct`, the older spelling, still common in `EnvoyFilter` objects.
#[allow(missing_docs, clippy::all)]
pub mod udpa {
    include!(concat!(env!("OUT_DIR"), "/udpa.r#type.v1.rs"));
}

/// `xds.type.v3.TypedStruct`.
#[allow(missing_docs, clippy::all)]
pub mod xds {
    include!(concat!(env!("OUT_DIR"), "/xds.r#type.v3.rs"));
}
