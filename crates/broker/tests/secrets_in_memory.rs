//! Nothing is left of a password once nobody needs it. The only test of its program: what others leave in memory must not be
//! found.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

use leveret_broker::{AuthChain, Authenticator, CachedAuth, Login, UserTable};

/// Marks the password, of which no piece of this many bytes stands in this program: it is made up when it is needed.
const PIECE: usize = 16;

/// Large enough that the allocator keeps its remains away from what it notes in what is free.
const PIECES: usize = 64;

fn mark(byte: usize) -> u8 {
    (byte as u8).wrapping_mul(37).wrapping_add(11) ^ 0xA5
}

/// How often a piece of the password stands in what this process can write to.
fn pieces_in_memory() -> usize {
    let mut memory = File::open("/proc/self/mem").unwrap();
    let mut found = 0;
    let mut part = Vec::new();
    for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        if !rest.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        memory.seek(SeekFrom::Start(start)).unwrap();
        part.clear();
        part.resize(usize::try_from(end - start).unwrap(), 0);
        // Not all of it can be read, such as what devices have.
        if memory.read_exact(&mut part).is_ok() {
            let is_piece = |window: &&[u8]| window.iter().enumerate().all(|(n, b)| *b == mark(n));
            found += part.windows(PIECE).filter(is_piece).count();
        }
        // The copy is not to be found by the next look.
        part.fill(0);
    }
    found
}

#[tokio::test]
async fn all_copies_of_a_password_are_wiped() {
    let table = || UserTable::new().with_user("ann", "another");
    let chain = AuthChain::new()
        .with("first", table())
        .with("second", CachedAuth::new(table()))
        .with("third", table());
    let password: Vec<u8> = (0..PIECES * PIECE).map(|n| mark(n % PIECE)).collect();
    assert!(pieces_in_memory() >= PIECES, "the search finds it");
    let login = Login::new("ann".to_owned(), password, "PLAIN", None);
    let copy = login.clone();
    assert!(chain.authenticate(login).await.is_err());
    // One that is abandoned before it has begun.
    drop(chain.authenticate(copy));
    assert_eq!(pieces_in_memory(), 0);
}
