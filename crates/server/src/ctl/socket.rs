//! Where a server is asked: a socket in the file system, for its user alone.

use std::path::{Path, PathBuf};

/// The socket of a server that has a data directory and was told nothing else.
pub(crate) fn socket_in(data_dir: &Path) -> PathBuf {
    data_dir.join("ctl.sock")
}

#[cfg(unix)]
pub(crate) use unix::ControlSocket;

#[cfg(unix)]
mod unix {
    use std::fs::{self, DirBuilder};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::{Path, PathBuf};

    /// A socket that is listened on. Its file goes when this is dropped.
    ///
    /// The file has mode 0600. A directory that has to be made for it has 0700. Between the file's being made and its mode
    /// being set others could connect in a directory that is open to them; whoever accepts therefore looks at the peer's
    /// user as well.
    #[derive(Debug)]
    pub(crate) struct ControlSocket {
        listener: UnixListener,
        path: PathBuf,
    }

    impl ControlSocket {
        /// A file that a server left behind which was killed is removed.
        ///
        /// # Errors
        /// When another server listens there, something else has that name, or it cannot be made.
        pub(crate) fn bind(path: &Path) -> io::Result<Self> {
            if let Some(parent) = path.parent()
                && !parent.as_os_str().is_empty()
            {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(parent)?;
            }
            remove_leftover(path)?;
            let listener = UnixListener::bind(path)?;
            let socket = Self {
                listener,
                path: path.to_owned(),
            };
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            socket.listener.set_nonblocking(true)?;
            Ok(socket)
        }

        pub(crate) fn path(&self) -> &Path {
            &self.path
        }

        /// # Errors
        /// When the runtime cannot watch it.
        pub(in crate::ctl) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
            tokio::net::UnixListener::from_std(self.listener.try_clone()?)
        }
    }

    impl Drop for ControlSocket {
        fn drop(&mut self) {
            // Somebody may have removed it already.
            let _ = fs::remove_file(&self.path);
        }
    }

    fn remove_leftover(path: &Path) -> io::Result<()> {
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if !found.file_type().is_socket() {
            let problem = "something that is no socket has this name";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, problem));
        }
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            Err(error) => Err(error),
            Ok(_) => {
                let problem = "another server listens there";
                Err(io::Error::new(io::ErrorKind::AddrInUse, problem))
            }
        }
    }
}

#[cfg(not(unix))]
pub(crate) use elsewhere::ControlSocket;

#[cfg(not(unix))]
mod elsewhere {
    use std::io;
    use std::path::Path;

    /// There is none on this system.
    #[derive(Debug)]
    pub(crate) enum ControlSocket {}

    impl ControlSocket {
        pub(crate) fn bind(_: &Path) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(crate) fn path(&self) -> &Path {
            match *self {}
        }
    }
}
