//! Tasks that are not those of a connection.

use tokio::runtime::Handle;

/// Starts tasks from anywhere, on the runtime that was there when this was made.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    runtime: Option<Handle>,
}

impl Spawner {
    /// On the runtime that this is called in; without one, nothing can be started.
    pub(crate) fn current() -> Self {
        Self {
            runtime: Handle::try_current().ok(),
        }
    }

    pub(crate) fn can_spawn(&self) -> bool {
        self.runtime.is_some()
    }

    /// Starts a task, if there is a runtime. It ends with that, if not before.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(task);
        }
    }
}
