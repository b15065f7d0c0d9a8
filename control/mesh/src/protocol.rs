//! What a port speaks, as its owner declared it.

/// The protocol of a port. `Auto` means that nobody said, so the proxy looks at the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Protocol {
    Http,
    Http2,
    Grpc,
    GrpcWeb,
    Https,
    Tls,
    Tcp,
    Mongo,
    Redis,
    MySql,
    Udp,
    /// Nobody said: sniff.
    Auto,
}

/// Ports on which the server speaks first. Sniffing them would wait for a client that waits for the server.
const SERVER_FIRST_PORTS: [u16; 4] = [25, 53, 3306, 27017];

impl Protocol {
    /// Reads the name as written in `Gateway` and `ServiceEntry` ports, in `appProtocol` and in port names.
    pub fn parse(name: &str) -> Option<Protocol> {
        Some(match name.to_ascii_lowercase().as_str() {
            "http" | "kubernetes.io/ws" => Protocol::Http,
            "http2" | "kubernetes.io/h2c" => Protocol::Http2,
            "grpc" => Protocol::Grpc,
            "grpc-web" => Protocol::GrpcWeb,
            "https" | "kubernetes.io/wss" => Protocol::Https,
            "tls" => Protocol::Tls,
            "tcp" => Protocol::Tcp,
            "mongo" => Protocol::Mongo,
            "redis" => Protocol::Redis,
            "mysql" => Protocol::MySql,
            "udp" => Protocol::Udp,
            _ => return None,
        })
    }

    /// Istio's order for a Kubernetes service port: UDP, `appProtocol`, the prefix of the port's name, well-known ports.
    pub fn of_service_port(transport: &str, app_protocol: Option<&str>, name: &str, number: u16) -> Protocol {
        if transport == "UDP" {
            return Protocol::Udp;
        }
        if let Some(declared) = app_protocol.and_then(Protocol::parse) {
            return declared;
        }
        let lower = name.to_ascii_lowercase();
        let prefix = if lower == "grpc-web" || lower.starts_with("grpc-web-") {
            "grpc-web"
        } else {
            lower.split('-').next().unwrap_or("")
        };
        match Protocol::parse(prefix) {
            Some(Protocol::Udp) | None if SERVER_FIRST_PORTS.contains(&number) => Protocol::Tcp,
            Some(Protocol::Udp) | None => Protocol::Auto,
            Some(declared) => declared,
        }
    }

    /// HTTP that a proxy may read.
    pub fn is_http(self) -> bool {
        matches!(self, Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb)
    }

    /// HTTP/2 without negotiation.
    pub fn is_http2(self) -> bool {
        matches!(self, Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb)
    }

    /// TLS that the application itself speaks; only its server name can be read.
    pub fn is_tls(self) -> bool {
        matches!(self, Protocol::Https | Protocol::Tls)
    }

    /// Bytes, with or without TLS.
    pub fn is_tcp(self) -> bool {
        matches!(self, Protocol::Tcp | Protocol::Mongo | Protocol::Redis | Protocol::MySql) || self.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_declaration_wins() {
        let of = |t, app: Option<&str>, name, port| Protocol::of_service_port(t, app, name, port);
        assert_eq!(of("UDP", Some("http"), "http", 80), Protocol::Udp);
        assert_eq!(of("TCP", Some("grpc"), "http", 80), Protocol::Grpc);
        assert_eq!(of("TCP", None, "http-metrics", 80), Protocol::Http);
        assert_eq!(of("TCP", None, "grpc-web-x", 80), Protocol::GrpcWeb);
        assert_eq!(of("TCP", None, "grpc-webby", 80), Protocol::Grpc);
        assert_eq!(of("TCP", None, "web", 80), Protocol::Auto);
        assert_eq!(of("TCP", None, "", 3306), Protocol::Tcp);
        assert_eq!(of("TCP", Some("kubernetes.io/h2c"), "", 80), Protocol::Http2);
        assert_eq!(of("TCP", Some("unheard-of"), "tls-x", 80), Protocol::Tls);
    }
}
