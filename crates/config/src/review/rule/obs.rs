//! OBS: sight: would anybody notice.

use super::Rule;

rules! {}
