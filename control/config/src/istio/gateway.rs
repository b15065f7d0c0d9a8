//! Gateway: the ports and hosts that a gateway's proxies serve.

use std::collections::BTreeMap;

message! {
    /// Servers of the proxies that `selector` names.
    pub struct Gateway {
        pub servers: Vec<Server>,
        pub selector: BTreeMap<String, String>,
    }

    /// One listener and the hosts it serves.
    pub struct Server {
        pub port: Option<Port>,
        pub bind: String,
        /// `host`, `namespace/host`, `./host` or `*/host`.
        pub hosts: Vec<String>,
        pub tls: Option<ServerTlsSettings>,
        pub default_endpoint: String,
        pub name: String,
    }

    /// A port with its protocol.
    pub struct Port {
        pub number: u32,
        pub protocol: String,
        pub name: String,
        #[schemars(extend("x-deprecated" = "it has no effect; the Service of the gateway maps ports"))]
        pub target_port: u32,
    }

    /// TLS towards clients.
    pub struct ServerTlsSettings {
        pub https_redirect: bool,
        /// Absent means `PASSTHROUGH`.
        pub mode: Option<ServerTlsMode>,
        pub server_certificate: String,
        pub private_key: String,
        pub ca_certificates: String,
        pub ca_crl: String,
        pub credential_name: String,
        pub credential_names: Vec<String>,
        pub ca_cert_credential_name: String,
        pub tls_certificates: Vec<TlsCertificate>,
        pub subject_alt_names: Vec<String>,
        pub verify_certificate_spki: Vec<String>,
        pub verify_certificate_hash: Vec<String>,
        pub min_protocol_version: TlsProtocol,
        pub max_protocol_version: TlsProtocol,
        pub cipher_suites: Vec<String>,
        pub ecdh_curves: Vec<String>,
        pub insecure_skip_verify: Option<bool>,
    }

    /// Certificate files.
    pub struct TlsCertificate {
        pub server_certificate: String,
        pub private_key: String,
        pub ca_certificates: String,
    }
}

impl ServerTlsSettings {
    /// What happens to TLS.
    pub fn mode(&self) -> ServerTlsMode {
        self.mode.unwrap_or_default()
    }
}

enumeration! {
    /// TLS towards clients.
    pub enum ServerTlsMode {
        #[default]
        Passthrough,
        Simple,
        Mutual,
        AutoPassthrough,
        IstioMutual,
        OptionalMutual,
    }

    /// Version of TLS.
    pub enum TlsProtocol {
        #[default]
        TlsAuto,
        #[serde(rename = "TLSV1_0")]
        Tlsv1_0,
        #[serde(rename = "TLSV1_1")]
        Tlsv1_1,
        #[serde(rename = "TLSV1_2")]
        Tlsv1_2,
        #[serde(rename = "TLSV1_3")]
        Tlsv1_3,
    }
}
