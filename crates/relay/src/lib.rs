//! the life of one client and of one server connection, as pure state machines
