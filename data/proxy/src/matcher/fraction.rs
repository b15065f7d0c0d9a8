//! A share of requests, in hundredths, ten-thousandths or millionths.

use meltemi_proto::envoy::config::core::v3::RuntimeFractionalPercent;
use meltemi_proto::envoy::r#type::v3::FractionalPercent;
use meltemi_proto::envoy::r#type::v3::fractional_percent::DenominatorType;

/// A share of requests, out of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction(u32);

impl Fraction {
    /// All requests.
    pub const ALL: Self = Self(1_000_000);

    /// Compiles Envoy's message.
    pub fn compile(proto: &FractionalPercent) -> Self {
        let scale = match proto.denominator() {
            DenominatorType::Hundred => 10_000,
            DenominatorType::TenThousand => 100,
            DenominatorType::Million => 1,
        };
        Self(proto.numerator.saturating_mul(scale).min(1_000_000))
    }

    /// Compiles the form with a runtime key; there is no runtime, so its default is what counts.
    pub fn runtime(proto: &RuntimeFractionalPercent) -> Self {
        proto.default_value.as_ref().map_or(Self::ALL, Self::compile)
    }

    /// Whether a random number (any, uniformly drawn) falls into the share.
    pub fn holds(self, random: u64) -> bool {
        random % 1_000_000 < u64::from(self.0)
    }

    /// Draws and decides.
    pub fn draw(self) -> bool {
        match self.0 {
            0 => false,
            1_000_000 => true,
            _ => self.holds(fastrand::u64(..)),
        }
    }
}
