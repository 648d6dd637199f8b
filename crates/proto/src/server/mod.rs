//! The server's side: sessions and the tree of channels.
