//! The client's side: [`acceptor`] hands sockets to cores, [`core`] runs one of them on a thread of
//! its own, [`connection`] serves one socket, [`head`] sees to it that heads arrive in time, and in
//! [`line`] wait those whose requests were refused.
//! Nothing here knows of tokens.

pub mod acceptor;
pub mod connection;
pub mod core;
pub mod head;
pub mod line;
