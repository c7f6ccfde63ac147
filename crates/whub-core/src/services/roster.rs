//! The providers of a service at one moment, and which of them a call goes to.

use std::sync::Arc;

use crate::call::Call;
use crate::mailbox::Mailbox;
use crate::services::access::AccessRule;
use crate::services::provider::{Provider, Refused};
use crate::services::settings::{Choose, ServiceSettings};

/// Replaced whole when a provider comes or goes, so that a call takes one look.
#[derive(Debug)]
pub(crate) struct Roster {
    /// Those of this node first.
    pub(crate) providers: Arc<[Arc<Provider>]>,
    pub(crate) settings: Arc<ServiceSettings>,
    /// Who may call.
    pub(crate) access: AccessRule,
    /// Headers that every provider wants although they are kept back by default.
    pub(crate) pass_headers: Arc<[Box<str>]>,
    /// How many of them are this node's.
    locals: usize,
    /// Sums of the weights up to and with each provider; `None` when all are equal.
    sums: Option<Box<[u64]>>,
    /// Of turns that follow each other the places are far apart: how far.
    stride: u64,
    /// What stands for each provider where a key chooses.
    marks: Box<[u64]>,
    /// Calls that each had been given before this moment, so that a newcomer is not given all that others were.
    before: Box<[u64]>,
}

/// What a choice rests on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance {
    /// Which call of the service it is.
    pub(crate) turn: u64,
    /// Unpredictable, and different for each call.
    pub(crate) random: u64,
}

impl Roster {
    pub(crate) fn new(providers: Vec<Arc<Provider>>, settings: Arc<ServiceSettings>) -> Self {
        let mut providers = providers;
        providers.sort_by_key(|provider| provider.registration.remote);
        let locals = providers.iter().filter(|provider| !provider.registration.remote).count();
        let asked = || providers.iter().map(|provider| &provider.registration.access);
        let strictest = || asked().fold(AccessRule::Public, |rule, access| rule.and(access));
        let sums = sums(&providers);
        let total = sums.as_ref().map_or(providers.len() as u64, |sums| sums.last().copied().unwrap_or(0));
        Self {
            access: settings.access.clone().unwrap_or_else(strictest),
            pass_headers: pass_headers(&providers),
            locals,
            stride: stride(total),
            marks: marks(&providers),
            before: providers.iter().map(|provider| provider.calls()).collect(),
            sums,
            settings,
            providers: providers.into(),
        }
    }

    /// Asks one provider after the other, best first, until one takes the call.
    pub(crate) fn offer(&self, chance: Chance, call: Box<Call>) -> Result<Mailbox, Refused> {
        let key = call.affinity;
        let mut refused = Refused { call, congested: false };
        for index in self.first(chance, key).into_iter().flatten() {
            match self.ask(index, refused) {
                Ok(mailbox) => return Ok(mailbox),
                Err(again) => refused = again,
            }
        }
        for index in self.rest(chance, key) {
            match self.ask(index, refused) {
                Ok(mailbox) => return Ok(mailbox),
                Err(again) => refused = again,
            }
        }
        Err(refused)
    }

    /// Whether somebody is left who has not said that they do not take the call.
    pub(crate) fn may_take(&self, call: &Call) -> bool {
        self.providers.iter().any(|provider| !call.refusals.are_from(provider.session()))
    }

    fn ask(&self, index: usize, refused: Refused) -> Result<Mailbox, Refused> {
        let Some(provider) = self.providers.get(index) else { return Err(refused) };
        if refused.call.refusals.are_from(provider.session()) {
            return Err(refused);
        }
        let congested = refused.congested;
        provider
            .offer(refused.call)
            .map_err(|again| Refused { congested: congested | again.congested, ..again })
    }

    /// Who is asked first, and who next.
    fn first(&self, chance: Chance, key: u64) -> [Option<usize>; 2] {
        if key != 0 {
            return [self.best_for(key), None];
        }
        match self.settings.choose {
            Choose::RoundRobin => {
                let place =
                    u128::from(chance.turn) * u128::from(self.stride) % u128::from(self.total().max(1));
                [Some(self.at(u64::try_from(place).unwrap_or(0))), None]
            }
            Choose::Random => [Some(self.at(within(chance.random, self.total()))), None],
            Choose::LeastLoaded | Choose::Sticky => self.lighter(chance, self.providers.len()),
            Choose::Local => self.lighter(chance, self.locals),
        }
    }

    /// Everybody, where those who were asked first do not take it.
    fn rest(&self, chance: Chance, key: u64) -> Box<dyn Iterator<Item = usize>> {
        let count = self.providers.len();
        if key != 0 {
            let mut order: Vec<usize> = (0..count).collect();
            order.sort_by(|one, other| self.score(*other, key).total_cmp(&self.score(*one, key)));
            return Box::new(order.into_iter());
        }
        let near = if self.settings.choose == Choose::Local { self.locals } else { count };
        let turned = move |from: usize, to: usize| {
            let length = to - from;
            let start = usize::try_from(within(chance.random, length as u64)).unwrap_or(0);
            (0..length).map(move |step| from + (start + step) % length)
        };
        Box::new(turned(0, near).chain(turned(near, count)))
    }

    /// Two of the first `count`, taken at random as their weights say, the one with less to do first. Of two that have
    /// about as much to do, the one that has had fewer calls: else whoever is heard first, call after call, for no better
    /// reason than its place in a list of sockets, is given more of them for ever.
    fn lighter(&self, chance: Chance, count: usize) -> [Option<usize>; 2] {
        match count {
            0 => return [None, None],
            1 => return [Some(0), None],
            _ => {}
        }
        let total = self.sums.as_ref().map_or(count as u64, |sums| sums[count - 1]);
        let one = self.at(within(chance.random, total));
        // The second is taken from what is left when the first is gone.
        let second = mix(chance.random ^ chance.turn);
        let (before, weight) = self.span(one);
        let place = within(second, total - weight);
        let other = self.at(if place < before { place } else { place + weight });
        let (first, next) = (&self.providers[one], &self.providers[other]);
        let fair = |count: u64, against: &Provider| count.saturating_mul(against.registration.weight.into());
        let (mine, theirs) = (fair(first.inflight().into(), next), fair(next.inflight().into(), first));
        let next_is_lighter = if mine.abs_diff(theirs) <= mine.min(theirs) / ABOUT {
            fair(self.given(other), first) < fair(self.given(one), next)
        } else {
            theirs < mine
        };
        if next_is_lighter { [Some(other), Some(one)] } else { [Some(one), Some(other)] }
    }

    /// Calls that a provider has been given since this roster was made.
    fn given(&self, index: usize) -> u64 {
        self.providers[index].calls().saturating_sub(self.before[index])
    }

    /// Rendezvous hashing: everybody is scored for the key, the highest wins. Who comes or goes takes or leaves only
    /// what it has won.
    fn best_for(&self, key: u64) -> Option<usize> {
        let by_score = |one: &usize, other: &usize| self.score(*one, key).total_cmp(&self.score(*other, key));
        (0..self.providers.len()).max_by(by_score)
    }

    /// Grows with the weight, so that each wins as often as its weight says.
    fn score(&self, index: usize, key: u64) -> f64 {
        let drawn = mix(self.marks[index] ^ key) >> 11;
        #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
        let uniform = (drawn as f64 + 0.5) / (1_u64 << 53) as f64;
        -f64::from(self.providers[index].registration.weight) / uniform.ln()
    }

    /// Whose place it is, if each provider has as many as it weighs.
    fn at(&self, place: u64) -> usize {
        match &self.sums {
            None => usize::try_from(place).unwrap_or(0),
            Some(sums) => sums.partition_point(|sum| *sum <= place),
        }
    }

    /// The first place of a provider, and how many it has.
    fn span(&self, index: usize) -> (u64, u64) {
        match &self.sums {
            None => (index as u64, 1),
            Some(sums) => {
                let before = index.checked_sub(1).map_or(0, |before| sums[before]);
                (before, sums[index] - before)
            }
        }
    }

    fn total(&self) -> u64 {
        self.sums.as_ref().and_then(|sums| sums.last().copied()).unwrap_or(self.providers.len() as u64)
    }
}

/// Loads that differ by no more than one in so many are about the same.
const ABOUT: u64 = 8;

fn sums(providers: &[Arc<Provider>]) -> Option<Box<[u64]>> {
    let weights = || providers.iter().map(|provider| u64::from(provider.registration.weight));
    let first = weights().next()?;
    if weights().all(|weight| weight == first) {
        return None;
    }
    let mut sum = 0;
    Some(
        weights()
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect(),
    )
}

/// A step that visits every place before it comes to one again, and places far apart from one to the next: near the
/// golden section, and without a common divisor.
fn stride(total: u64) -> u64 {
    let golden = total / 1000 * 618 + total % 1000 * 618 / 1000;
    (1..=golden).rev().find(|step| are_coprime(*step, total)).unwrap_or(1)
}

fn are_coprime(mut one: u64, mut other: u64) -> bool {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one == 1
}

/// A provider is known by what its client calls itself, so that it wins the same keys after it came back; where that
/// does not tell it from others, by its session.
fn marks(providers: &[Arc<Provider>]) -> Box<[u64]> {
    let mut names: Vec<&str> = providers.iter().map(|provider| &*provider.registration.name).collect();
    names.sort_unstable();
    let is_unique = |name: &str| {
        let first = names.partition_point(|known| *known < name);
        names.get(first + 1).is_none_or(|next| *next != name)
    };
    let mark = |provider: &Arc<Provider>| match &*provider.registration.name {
        name if !name.is_empty() && is_unique(name) => hash(name.as_bytes()),
        _ => mix(provider.session().0),
    };
    providers.iter().map(mark).collect()
}

fn pass_headers(providers: &[Arc<Provider>]) -> Arc<[Box<str>]> {
    let Some((first, others)) = providers.split_first() else { return Arc::default() };
    let wanted = first.registration.pass_headers.iter();
    wanted
        .filter(|name| others.iter().all(|other| other.registration.pass_headers.contains(name)))
        .cloned()
        .collect()
}

/// A number below `bound` from a random one (0 for 0).
fn within(random: u64, bound: u64) -> u64 {
    u64::try_from((u128::from(random) * u128::from(bound)) >> 64).unwrap_or(0)
}

/// Spreads a number over all bits (the finalizer of splitmix64).
pub(crate) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// FNV-1a, spread: what a key becomes. Never 0.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)).max(1)
}
