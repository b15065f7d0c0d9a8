//! The one call of `grpc.health.v1.Health` that a probe needs.

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::http_client::Target;
use crate::istiod::Failure;

/// The service serves.
pub(super) const SERVING: i32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Asks for the status of `service` (empty: the whole server).
pub(super) async fn check(target: &Target, service: String) -> Result<i32, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{}:{}", target.host, target.port))?;
    let (dial, host, port) = (target.dial, target.host.clone(), target.port);
    let connector = service_fn(move |_| {
        let host = host.clone();
        async move { dial.connect(&host, port).await.map(TokioIo::new) }
    });
    let mut client = Grpc::new(endpoint.connect_with_connector(connector).await?);
    client.ready().await?;
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let response = client.unary(Request::new(HealthCheckRequest { service }), path, codec).await?;
    Ok(response.into_inner().status)
}
