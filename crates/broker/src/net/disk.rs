//! The task that measures how much disk is free.

use std::io;
use std::sync::Arc;

use crate::disk::DiskSpace;
use crate::shared::Shared;

/// Measures when it is time to, until it is dropped. Ends at once for a broker that cannot measure.
pub(crate) async fn run_disk_gauge(shared: Arc<Shared>) {
    let gauge = &shared.services.disk;
    let Some(probe) = gauge.probe() else {
        return;
    };
    loop {
        shared.clock.sleep_until(gauge.next_at()).await;
        measure_disk(&shared, &probe).await;
    }
}

/// Measures once.
pub(crate) async fn measure_disk(shared: &Shared, probe: &Arc<dyn DiskSpace>) {
    let _busy = shared.busy.during();
    let probe = Arc::clone(probe);
    // A file system on a network may take its time, or not answer at all: not on a thread that serves connections.
    let free = tokio::task::spawn_blocking(move || probe.free_bytes()).await;
    let free = free.unwrap_or_else(|panic| Err(io::Error::other(panic)));
    shared.services.disk.handle_measured(shared.now(), free);
}
