//! What a search will read, so that long ones do not hold up the threads that answer requests.

/// An estimate of the bytes a piece of work touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    bytes: u64,
}

impl Cost {
    /// A look-up.
    pub const SHORT: Cost = Cost { bytes: 0 };
    /// Work of unknown length.
    pub const LONG: Cost = Cost { bytes: u64::MAX };

    /// Work that touches about `bytes` bytes.
    pub fn bytes(bytes: u64) -> Cost {
        Cost { bytes }
    }

    /// Whether the thread that answers requests may do it itself.
    pub fn is_short(self) -> bool {
        self.bytes <= SHORT_BYTES_MAX
    }
}

/// About a millisecond of one core's memory bandwidth.
const SHORT_BYTES_MAX: u64 = 8 << 20;
