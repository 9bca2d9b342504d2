//! Sockets and tasks: the only part of the broker that waits for anything. No protocol is decided here.

mod asking;
mod connection;
mod disk;
mod entrance;
mod line;
mod listener;
mod login;
mod proxy;
mod seat;
mod service;
mod spawner;
mod speak;
mod throttle;
mod timer;
#[cfg(feature = "tls")]
mod tls;

pub(crate) use asking::{ask_for_rights, renew};
#[cfg(all(test, feature = "journal"))]
pub(crate) use connection::by_hand::ByHand;
pub(crate) use disk::{measure_disk, run_disk_gauge};
#[cfg(feature = "stomp")]
pub(crate) use listener::serve_websocket;
pub(crate) use listener::{Listener, bind};
pub(crate) use service::{Service, Spoken};
pub(crate) use spawner::Spawner;
pub(crate) use timer::run_timers;
#[cfg(feature = "tls")]
pub(crate) use tls::Tls;
