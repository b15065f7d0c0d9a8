//! gRPC messages in a stream of bytes.

/// Counts gRPC messages in a stream of bytes by their length prefixes.
#[derive(Debug, Default)]
pub struct MessageCounter {
    prefix: [u8; 5],
    filled: usize,
    skip: u64,
}

impl MessageCounter {
    /// How many messages begin in these bytes.
    pub fn feed(&mut self, mut data: &[u8]) -> u64 {
        let mut messages = 0;
        while !data.is_empty() {
            if self.skip > 0 {
                let step = self.skip.min(data.len() as u64);
                self.skip -= step;
                data = &data[step as usize..];
                continue;
            }
            let step = (5 - self.filled).min(data.len());
            self.prefix[self.filled..self.filled + step].copy_from_slice(&data[..step]);
            self.filled += step;
            data = &data[step..];
            if self.filled == 5 {
                let [_, length @ ..] = self.prefix;
                self.skip = u64::from(u32::from_be_bytes(length));
                self.filled = 0;
                messages += 1;
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_across_frames() {
        let mut counter = MessageCounter::default();
        assert_eq!(counter.feed(&[0, 0, 0]), 0);
        assert_eq!(counter.feed(&[0, 2, 9, 9, 0, 0, 0, 0, 0]), 2);
        assert_eq!(counter.feed(&[0, 0, 0, 0, 1]), 1);
    }
}
