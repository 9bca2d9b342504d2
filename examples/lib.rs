//! Programs that embed leveret; each file beside this folder is one.
