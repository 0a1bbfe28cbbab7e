//! sockets: event loops, login lane, connects
