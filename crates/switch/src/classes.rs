//! Which class a client's requests are of: by the rules first, and then by what the client says of itself.
//!
//! The rules look at what a client cannot choose: who it is, where it goes, where it comes from. What it says of itself
//! (`application_name`, a comment on its statement) may choose among what is less than that, and among all only where its user is
//! trusted; so a made-up name gains nothing.

use core::net::{IpAddr, SocketAddr};

use poolwarden_pool::ClassId;

use crate::patience::Patience;
use crate::terms::TermsBook;

/// Every class by its id, as the core has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRules {
    /// By id; never empty. An id beyond it is taken for the first.
    pub classes: Vec<ClassRule>,
}

/// One `[classes.NAME]`, as far as the core does not need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassRule {
    /// Its name.
    pub name: String,
    /// Its weight in the core.
    pub weight: u32,
    /// Its reserve in the core.
    pub reserve: u32,
    /// What clients of this class call themselves.
    pub applications: Vec<Pattern>,
    /// Client networks of this class, with the bits that count: where neither user nor pool has one. Of several the narrowest counts.
    pub networks: Vec<(IpAddr, u8)>,
    /// Time limits of its requests, where the user has none of its own, and over the pool's.
    pub patience: Patience,
}

/// A name, or the start of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    stem: Box<str>,
    open: bool,
}

impl Pattern {
    /// A name in full, or its start and `*` at the end.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let stem = text.strip_suffix('*');
        Self { open: stem.is_some(), stem: stem.unwrap_or(text).into() }
    }

    fn fits(&self, name: &str) -> bool {
        if self.open { name.starts_with(&*self.stem) } else { name == &*self.stem }
    }
}

impl ClassRule {
    /// A class of this weight and nothing else.
    #[must_use]
    pub fn new(name: &str, weight: u32) -> Self {
        Self { name: name.to_owned(), weight, ..Self::default() }
    }
}

impl Default for ClassRules {
    fn default() -> Self {
        let classes = [("default", 4), ("batch", 1), ("critical", 8)];
        Self { classes: classes.map(|(name, weight)| ClassRule::new(name, weight)).into() }
    }
}

impl ClassRules {
    /// The class of this id.
    pub(crate) fn rule(&self, id: ClassId) -> Option<&ClassRule> {
        self.classes.get(usize::from(id.0)).or(self.classes.first())
    }

    /// The name of a class.
    pub(crate) fn name(&self, id: ClassId) -> &str {
        self.rule(id).map_or("default", |rule| &rule.name)
    }

    fn find(&self, fits: impl Fn(&ClassRule) -> bool) -> Option<ClassId> {
        let ids = (0..=u8::MAX).map(ClassId);
        ids.zip(&self.classes).find(|(_, rule)| fits(rule)).map(|(id, _)| id)
    }

    /// The class whose network holds this address: the narrowest.
    fn of_network(&self, address: IpAddr) -> Option<ClassId> {
        let ids = (0..=u8::MAX).map(ClassId);
        let all = ids.zip(&self.classes).flat_map(|(id, rule)| rule.networks.iter().map(move |network| (id, network)));
        let held = all.filter_map(|(id, network)| Some((width(*network, address)?, id)));
        held.max_by_key(|(width, _)| *width).map(|(_, id)| id)
    }

    /// The class that an application's name asks for: that of the longest pattern that fits.
    fn of_application(&self, name: &str) -> Option<ClassId> {
        let ids = (0..=u8::MAX).map(ClassId);
        let all = ids.zip(&self.classes).flat_map(|(id, rule)| rule.applications.iter().map(move |of| (id, of)));
        let fitting = all.filter(|(_, pattern)| pattern.fits(name));
        fitting.max_by_key(|(_, pattern)| (pattern.stem.len(), !pattern.open)).map(|(id, _)| id)
    }

    /// `wish` where a client of class `base` may have it: a class that is less in every way, or any class for the trusted.
    fn allowed(&self, base: ClassId, wish: ClassId, trusted: bool) -> Option<ClassId> {
        let (own, other) = (self.rule(base)?, self.rule(wish)?);
        let less = other.weight < own.weight && other.reserve <= own.reserve;
        (trusted || less || wish == base).then_some(wish)
    }

    /// The class a client of class `base` gets for calling itself `application`.
    pub(crate) fn labelled(&self, base: ClassId, application: &str, trusted: bool) -> ClassId {
        let wish = self.of_application(application);
        wish.and_then(|wish| self.allowed(base, wish, trusted)).unwrap_or(base)
    }

    /// The class that a comment names, where a client of class `base` may have it.
    pub(crate) fn commented(&self, base: ClassId, name: &str, trusted: bool) -> Option<ClassId> {
        self.allowed(base, self.find(|rule| rule.name == name)?, trusted)
    }
}

impl TermsBook {
    /// The class of a client by what it cannot choose: its user's, else its pool's, else that of the network it comes from.
    pub(crate) fn base_class(&self, (database, user): (&str, &str), remote: Option<SocketAddr>) -> ClassId {
        let user = || self.users.get(user).and_then(|user| user.class);
        let pool = || self.databases.get(database).unwrap_or(&self.any).class;
        let network = || self.classes.of_network(remote?.ip());
        user().or_else(pool).or_else(network).unwrap_or_default()
    }

    /// Whether what clients of this user say of themselves may raise their class.
    pub(crate) fn trusts(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.trust_labels)
    }
}

/// The bits that count of a network that holds `address`; `None` where it does not. An IPv4 address is one however it is written.
fn width((network, prefix): (IpAddr, u8), address: IpAddr) -> Option<u8> {
    let bits = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((network, width), (address, other)) = (bits(network), bits(address));
    let prefix = prefix.min(width);
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    (width == other && network & mask == address & mask).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::{PoolTerms, UserTerms};

    const DEFAULT: ClassId = ClassId(0);
    const BATCH: ClassId = ClassId(1);
    const CRITICAL: ClassId = ClassId(2);

    fn rules() -> ClassRules {
        let mut rules = ClassRules::default();
        rules.classes[1].applications = ["report*", "nightly"].map(Pattern::new).into();
        rules.classes[2].applications = vec![Pattern::new("checkout*"), Pattern::new("reports-live")];
        rules.classes[1].networks = vec![("10.0.0.0".parse().unwrap(), 8)];
        rules.classes[2].networks = vec![("10.1.0.0".parse().unwrap(), 16), ("fd00::".parse().unwrap(), 8)];
        rules
    }

    #[test]
    fn a_user_goes_before_a_pool_and_a_pool_before_a_network() {
        let mut book = TermsBook { classes: rules(), ..TermsBook::default() };
        let pool = PoolTerms { class: Some(CRITICAL), ..PoolTerms::default() };
        book.databases.insert("shop".into(), pool);
        book.databases.insert("plain".into(), PoolTerms::default());
        book.users.insert("etl".into(), UserTerms { class: Some(BATCH), ..UserTerms::default() });
        let class = |database: &str, user: &str, from: &str| {
            book.base_class((database, user), (!from.is_empty()).then(|| SocketAddr::new(from.parse().unwrap(), 1)))
        };
        assert_eq!(class("shop", "etl", "10.1.2.3"), BATCH);
        assert_eq!(class("shop", "web", "10.2.2.3"), CRITICAL);
        assert_eq!(class("plain", "web", "10.2.2.3"), BATCH);
        assert_eq!(class("plain", "web", "10.1.2.3"), CRITICAL, "the narrowest network");
        assert_eq!(class("plain", "web", "::ffff:10.1.2.3"), CRITICAL, "the same address");
        assert_eq!(class("plain", "web", "fd00::1"), CRITICAL);
        assert_eq!(class("plain", "web", "192.168.0.1"), DEFAULT);
        assert_eq!(class("plain", "web", ""), DEFAULT, "a unix socket is in no network");
    }

    #[test]
    fn a_made_up_application_name_gains_nothing() {
        let rules = rules();
        for name in ["checkout-1", "reports-live", "critical", "default", "", "CHECKOUT"] {
            assert_eq!(rules.labelled(BATCH, name, false), BATCH, "{name}");
            assert_ne!(rules.labelled(DEFAULT, name, false), CRITICAL, "{name}");
        }
        assert_eq!(rules.commented(DEFAULT, "critical", false), None);
        assert_eq!(rules.commented(BATCH, "default", false), None);
        assert_eq!(rules.labelled(DEFAULT, "checkout-1", true), CRITICAL, "the trusted may");
        assert_eq!(rules.commented(BATCH, "critical", true), Some(CRITICAL));
    }

    #[test]
    fn a_label_lowers_and_what_is_as_heavy_or_has_more_kept_for_it_is_not_less() {
        let mut rules = rules();
        assert_eq!(rules.labelled(CRITICAL, "nightly", false), BATCH);
        assert_eq!(rules.labelled(CRITICAL, "nightly-2", false), CRITICAL, "that is another name");
        assert_eq!(rules.commented(CRITICAL, "default", false), Some(DEFAULT));
        assert_eq!(rules.commented(DEFAULT, "default", false), Some(DEFAULT), "what it has anyway");
        assert_eq!(rules.commented(DEFAULT, "nobody", false), None);
        rules.classes[1].reserve = 1;
        assert_eq!(rules.commented(DEFAULT, "batch", false), None, "its reserve would be a gain");
        rules.classes[1] = ClassRule::new("batch", 4);
        assert_eq!(rules.commented(DEFAULT, "batch", false), None, "as heavy");
    }
}
