//! Address ranges and whether one lies in another.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An address range such as `10.0.0.0/8`; host bits are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not an address range.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not an address range: {reason}")]
pub struct CidrError {
    /// What was read.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Cidr {
    /// The ranges in which clouds put their metadata services.
    pub const LINK_LOCAL: [Self; 3] = [
        Self {
            address: IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)),
            prefix: 16,
        },
        Self {
            address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)),
            prefix: 10,
        },
        Self {
            address: IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
            prefix: 128,
        },
    ];

    /// Whether `other` lies wholly in this range, or is the same.
    pub fn contains(&self, other: &Self) -> bool {
        if self.address.is_ipv4() != other.address.is_ipv4() || other.prefix < self.prefix {
            return false;
        }
        masked(other.address, self.prefix) == self.address
    }
}

/// The address with everything after the prefix zeroed.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let fail = |reason| CidrError {
            text: text.to_owned(),
            reason,
        };
        let (address, prefix) = text
            .split_once('/')
            .ok_or_else(|| fail("no prefix length"))?;
        let address: IpAddr = address.parse().map_err(|_| fail("not an IP address"))?;
        let prefix: u8 = prefix
            .parse()
            .map_err(|_| fail("prefix length is not a number"))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        if prefix > longest {
            return Err(fail("prefix length is too long"));
        }
        if masked(address, prefix) != address {
            return Err(fail("bits are set after the prefix"));
        }
        Ok(Self { address, prefix })
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_contains_its_parts_and_itself_only() {
        assert!(cidr("0.0.0.0/0").contains(&cidr("169.254.0.0/16")));
        assert!(cidr("10.0.0.0/8").contains(&cidr("10.0.0.0/8")));
        assert!(!cidr("10.0.0.0/16").contains(&cidr("10.0.0.0/8")));
        assert!(!cidr("10.0.0.0/8").contains(&cidr("11.0.0.0/16")));
        assert!(!cidr("::/0").contains(&cidr("10.0.0.0/8")));
        assert!(cidr("::/0").contains(&cidr("fe80::/10")));
    }

    #[test]
    fn a_text_that_is_no_range_is_refused_with_its_reason() {
        for (text, reason) in [
            ("10.0.0.0", "no prefix length"),
            ("10.0.0/8", "not an IP address"),
            ("10.0.0.0/x", "prefix length is not a number"),
            ("10.0.0.0/33", "prefix length is too long"),
            ("10.0.0.1/8", "bits are set after the prefix"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap_err().reason, reason, "{text}");
        }
    }

    #[test]
    fn the_link_local_ranges_are_written_as_they_parse() {
        for range in Cidr::LINK_LOCAL {
            assert_eq!(cidr(&range.to_string()), range);
        }
    }
}
