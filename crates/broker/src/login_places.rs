//! How many logins of one address are looked at at once: as many as may fail for free, or a whole crowd would have been
//! looked at before the first of them has failed. The others wait in their order, without a place among those whom the
//! authenticator keeps busy. An address of which no login is under way is not remembered.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::network::Origin;

/// See the module. Its lock is innermost and held for a look-up.
#[derive(Debug)]
pub(crate) struct LoginPlaces {
    max: usize,
    rooms: Mutex<HashMap<Origin, Room>>,
}

#[derive(Debug)]
struct Room {
    /// Those who wait for a place included. Each is a connection that has not logged in, whose number has a bound.
    entrants: usize,
    places: Arc<Semaphore>,
}

/// Somebody who is to have a place.
#[derive(Debug)]
pub(crate) struct Entrant {
    rooms: Arc<LoginPlaces>,
    origin: Origin,
    places: Arc<Semaphore>,
}

/// A login may be looked at for as long as this is held.
#[derive(Debug)]
pub(crate) struct Place {
    /// None where nobody counts: nobody closes the semaphore, which is the one reason for there to be none.
    _permit: Option<OwnedSemaphorePermit>,
    _entrant: Entrant,
}

impl LoginPlaces {
    /// So many for each address, but one at least.
    pub(crate) fn new(max: u32) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        Self {
            max: max.clamp(1, Semaphore::MAX_PERMITS),
            rooms: Mutex::default(),
        }
    }

    /// Somebody comes from an address.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Entrant {
        let origin = Origin::of(address);
        let mut rooms = self.rooms.lock();
        let room = rooms.entry(origin).or_insert_with(|| Room {
            entrants: 0,
            places: Arc::new(Semaphore::new(self.max)),
        });
        room.entrants += 1;
        Entrant {
            rooms: Arc::clone(self),
            origin,
            places: Arc::clone(&room.places),
        }
    }
}

impl Entrant {
    /// # Errors
    /// When there is no place now: the entrant, who may wait for one.
    pub(crate) fn try_sit(self) -> Result<Place, Self> {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => Ok(Place {
                _permit: Some(permit),
                _entrant: self,
            }),
            Err(_) => Err(self),
        }
    }

    /// Waits for a place.
    pub(crate) async fn sit(self) -> Place {
        let permit = Arc::clone(&self.places).acquire_owned().await;
        Place {
            _permit: permit.ok(),
            _entrant: self,
        }
    }
}

impl Drop for Entrant {
    fn drop(&mut self) {
        let mut rooms = self.rooms.rooms.lock();
        if let Entry::Occupied(mut room) = rooms.entry(self.origin) {
            room.get_mut().entrants -= 1;
            if room.get().entrants == 0 {
                room.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_forgotten_when_nobody_is_left() {
        let places = Arc::new(LoginPlaces::new(2));
        let enter = |last| places.enter([192, 0, 2, last].into());
        let first = enter(1).try_sit().unwrap();
        let second = enter(1).try_sit().unwrap();
        let third = enter(1).try_sit().unwrap_err();
        assert!(enter(2).try_sit().is_ok());
        drop(first);
        let third = third.try_sit().unwrap();
        assert!(enter(1).try_sit().is_err());
        drop((second, third));
        assert!(places.rooms.lock().is_empty());
    }

    #[test]
    fn there_is_one_place_at_least() {
        let places = Arc::new(LoginPlaces::new(0));
        assert!(places.enter([192, 0, 2, 1].into()).try_sit().is_ok());
    }
}
