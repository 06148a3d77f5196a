//! The client's side: [`acceptor`] hands sockets to cores, [`core`] runs one of them on a thread of
//! its own, [`connection`] serves one socket: [`proxy_protocol`] says
//! for whom it is, [`tls`] secures it, [`ahead`] finds out what it speaks, [`head`] sees to it
//! that heads of HTTP/1.1 arrive in time, [`http2`] serves the other, on the [`frames`] of its socket
//! and within its [`budget`]. In [`line`] wait those whose requests were refused.
//! Nothing here knows of tokens.

pub mod acceptor;
pub mod ahead;
pub mod budget;
pub mod connection;
pub mod core;
pub mod frames;
pub mod head;
pub mod http2;
pub mod line;
pub mod proxy_protocol;
pub mod tls;
