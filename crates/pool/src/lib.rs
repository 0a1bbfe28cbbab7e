//! all pools of one server and their door: slots, limits, wait queue
