//! What a journal can be told.

/// How a journal treats its files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JournalOptions {
    /// When what was appended counts as safe.
    pub sync: SyncPolicy,
    /// How large a file of the log gets, give or take one write: at least 4 KiB, at most 1 GiB, and twice what it begins
    /// with where that is more, which is some bytes for each queue and page. The
    /// default, 16 MiB, is begun anew some times a second by a disk that writes as fast as it can.
    /// Writing over a file that is not needed any more costs less than a new one, and the smaller
    /// they are, the sooner there is one.
    pub log_file_size: u64,
    /// How large a file of pages gets, give or take one page. Default 64 MiB: that much is held back
    /// from being removed by the last live page in it.
    pub page_file_size: u64,
    /// How many files the log may have before [`Journal::to_move`](crate::Journal::to_move) names
    /// queues whose messages hold back the oldest. Default 16: what recovery reads at most, unless
    /// the broker falls behind with moving.
    pub log_files_max: usize,
    /// How many bytes may wait to be written to the log before
    /// [`Journal::is_congested`](crate::Journal::is_congested). Default 8 MiB, some hundredths
    /// of a second of a fast disk: it is in memory up to three times while a buffer of it grows.
    pub pending_max: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            sync: SyncPolicy::default(),
            log_file_size: 16 << 20,
            page_file_size: 64 << 20,
            log_files_max: 16,
            pending_max: 8 << 20,
        }
    }
}

impl JournalOptions {
    /// The length at which a file of the log is not added to any more.
    pub(super) fn log_file_len(&self) -> u64 {
        self.log_file_size.clamp(4 << 10, 1 << 30)
    }
}

/// When what was appended counts as safe, so that publishers are told so.
///
/// Whatever the policy, everything survives that the *system* was handed when the *process* ends, in
/// whatever way; what was confirmed has been. They differ in what a power cut or a crash of the
/// system loses. A message that is moved from the log to a page is never lost by the move.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SyncPolicy {
    /// When the disk says that it has it. A power cut loses nothing that was confirmed. Those who
    /// wait together share one sync.
    #[default]
    EveryConfirm,
    /// When the system has it; the disk is told to write this many milliseconds later at most, as
    /// far as [`Journal::work`](crate::Journal::work) is called in time. A power cut loses what was
    /// confirmed in that time.
    IntervalMs(u64),
    /// When the system has it, which writes when it sees fit: half a minute later, usually. A power
    /// cut loses what was confirmed in that time.
    Os,
}
