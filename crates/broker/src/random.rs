//! Names that the broker makes up, from a source that a test can seed.

use parking_lot::Mutex;

/// Makes names such as `amq.gen-JzTY20BRgKO-HjmUJj0wLg`.
///
/// A server-named queue is found by whoever guesses its name, so by default the random bytes are the operating system's.
#[derive(Debug)]
pub(crate) struct RandomNames {
    source: Source,
}

#[derive(Debug)]
enum Source {
    System,
    /// The state of a SplitMix64 generator: the same names on every run.
    Seeded(Mutex<u64>),
}

impl RandomNames {
    pub(crate) fn from_system() -> Self {
        Self {
            source: Source::System,
        }
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        Self {
            source: Source::Seeded(Mutex::new(seed)),
        }
    }

    /// `prefix` and 22 characters of URL-safe base64: 16 random bytes without padding.
    pub(crate) fn name(&self, prefix: &str) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        let mut name = String::with_capacity(prefix.len() + 22);
        name.push_str(prefix);
        push_base64(&mut name, u128::from_be_bytes(bytes));
        name
    }

    /// A number to seed choices with that need not be secret.
    pub(crate) fn seed(&self) -> u64 {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        let [half, ..] = bytes.as_chunks::<8>().0 else {
            return 0;
        };
        u64::from_be_bytes(*half)
    }

    fn fill(&self, bytes: &mut [u8; 16]) {
        match &self.source {
            Source::System => {
                getrandom::fill(bytes)
                    .expect("the operating system's random source works once the machine is up");
            }
            Source::Seeded(state) => {
                let mut state = state.lock();
                for half in bytes.chunks_exact_mut(8) {
                    half.copy_from_slice(&split_mix(&mut state).to_be_bytes());
                }
            }
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(1);
    mix(*state)
}

/// The n-th number of SplitMix64: as good as chance for everything but secrets.
pub(crate) fn mix(n: u64) -> u64 {
    let mut mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The 22 characters of URL-safe base64 that these bits come to.
#[cfg(feature = "stomp")]
pub(crate) fn base64_of(bits: u128) -> String {
    let mut text = String::with_capacity(22);
    push_base64(&mut text, bits);
    text
}

/// RFC 4648 section 5: 21 characters of six bits, and one for the last two bits.
fn push_base64(out: &mut String, bits: u128) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let character = |six_bits: u128| char::from(ALPHABET[(six_bits & 63) as usize]);
    out.extend((0..21).map(|at| character(bits >> (122 - 6 * at))));
    out.push(character((bits & 3) << 4));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_look_like_rabbitmqs() {
        let name = RandomNames::from_system().name("amq.gen-");
        assert_eq!(name.len(), "amq.gen-".len() + 22);
        assert_ne!(name, RandomNames::from_system().name("amq.gen-"));
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        let mut text = String::new();
        push_base64(&mut text, u128::from_be_bytes(*b"any carnal pleas"));
        assert_eq!(text, "YW55IGNhcm5hbCBwbGVhcw");
    }

    #[test]
    fn a_seed_gives_the_same_names_again() {
        assert_eq!(
            RandomNames::seeded(7).name(""),
            RandomNames::seeded(7).name("")
        );
        let names = RandomNames::seeded(7);
        assert_ne!(names.name(""), names.name(""));
    }
}
