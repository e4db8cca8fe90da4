//! What the front's copies of requests say, gathered for `bireme status` and `bireme compare --shadow-report`.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use compare::document::Comparison;
use compare::equality::Answer;
use compare::load::coding;
use compare::redact::Secrets;
use compare::routes::{of_parts, text_of};
use compare::shadow::Book;
use front::shadow::Sample;

/// Routes that are kept apart; a configuration has fewer.
const BOOKS_MAX: usize = 1_000;

/// By route, service and candidate.
#[derive(Clone, Debug, Default)]
pub struct Shadows(Arc<Mutex<BTreeMap<[String; 3], Book>>>);

impl Shadows {
    /// Takes samples on a thread of its own, so that comparing keeps nobody waiting. It ends with the front.
    pub fn gather(&self, samples: Receiver<Sample>) -> std::io::Result<()> {
        let shadows = self.clone();
        let take = move || samples.iter().for_each(|sample| shadows.add(&sample));
        std::thread::Builder::new().name("shadows".to_owned()).spawn(take).map(drop)
    }

    /// One comparison for each route with a shadow, as far as anything was heard.
    pub fn report(&self) -> Vec<Comparison> {
        self.books().values().map(Book::comparison).collect()
    }

    fn add(&self, sample: &Sample) {
        let mut secrets = Secrets::default();
        for (name, value) in &sample.fields {
            secrets.field(&String::from_utf8_lossy(name), &String::from_utf8_lossy(value));
        }
        secrets.form(&String::from_utf8_lossy(&sample.query));
        let [own, candidate] =
            [&sample.own_answers, &sample.candidate_answers].map(|pair| [answer(&pair[0], &secrets), answer(&pair[1], &secrets)]);
        let seconds = [&sample.own_answers, &sample.candidate_answers].map(|pair| [0, 1].map(|at| pair[at].took.as_secs_f64()));
        let key = [&*sample.route, &*sample.own, &*sample.candidate].map(str::to_owned);
        let mut books = self.books();
        if !books.contains_key(&key) {
            match Book::new(&sample.route, &sample.own, &sample.candidate).filter(|_| books.len() < BOOKS_MAX) {
                Some(book) => books.insert(key.clone(), book),
                None => return,
            };
        }
        if let Some(book) = books.get_mut(&key) {
            book.add(&sample.name, [&own[0], &own[1]], [&candidate[0], &candidate[1]], seconds);
        }
    }

    fn books(&self) -> MutexGuard<'_, BTreeMap<[String; 3], Book>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(one: &front::shadow::Answer, secrets: &Secrets) -> Answer {
    let (Some(status), None) = (one.status, one.failure) else {
        let why = one.failure.unwrap_or("no answer");
        return Answer { parts: vec![("answer".to_owned(), why.into())], json: None };
    };
    let name = |name: &[u8]| String::from_utf8_lossy(name).to_ascii_lowercase();
    let fields: Vec<(String, Vec<u8>)> = one.fields.iter().map(|(n, value)| (name(n), value.clone())).collect();
    let plain = coding::decode(&fields, &one.body);
    let body = plain.as_deref().unwrap_or(&one.body);
    let clean = |bytes: &[u8]| secrets.clean(&text_of(bytes)).into_bytes();
    let body = clean(body);
    let fields: Vec<(String, Vec<u8>)> = fields.into_iter().map(|(name, value)| (name, clean(&value))).collect();
    of_parts(status, &fields, &body)
}
