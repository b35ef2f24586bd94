//! Invoices of a real shop, told as till orders.
//!
//! One event for each invoice. A `CustomerID` is a member; an invoice without one is known by its
//! receipt alone, and a seeded third of those is later claimed by a member in the web shop.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use mainstem_domain::ChannelId;
use mainstem_domain::configuration::{ChannelKind, Configuration};
use mainstem_domain::person::Business;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::{Value, json};

use super::plan::at_share;
use super::{Claim, INVOICE, Plan, Post, SHOP, Shape, Told};

/// Ingress takes 1 MiB, and some invoices have hundreds of lines.
const MOST_BATCH_BYTES: usize = 256 * 1024;
const MOST_BATCH: usize = 20;
/// The invoices come in this part of the day, the claims in what is left of it.
const INVOICES_UNTIL: f64 = 0.6;

/// One line of the files.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    invoice_no: String,
    stock_code: String,
    description: String,
    quantity: i64,
    invoice_date: String,
    unit_price: f64,
    #[serde(rename = "CustomerID")]
    customer: String,
    country: String,
}

/// The invoices, in the order of their files and lines.
#[derive(Debug, Default)]
pub(in crate::demo) struct Invoices(Vec<Invoice>);

#[derive(Debug)]
struct Invoice {
    number: String,
    member: Option<String>,
    time: String,
    country: String,
    lines: Vec<Value>,
    pence: f64,
}

impl Invoices {
    /// Reads every `*.csv` of a folder.
    ///
    /// # Errors
    /// A file that cannot be read, or a line that is no line of an invoice, by its place.
    pub(in crate::demo) fn read(folder: &Path) -> anyhow::Result<Self> {
        let failed = || format!("--orders: cannot read {}", folder.display());
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(folder).with_context(failed)? {
            let path = entry.with_context(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "csv") {
                files.push(path);
            }
        }
        if files.is_empty() {
            bail!("--orders: {} holds no *.csv file", folder.display());
        }
        files.sort_unstable();
        let mut invoices = Self::default();
        let mut places = BTreeMap::new();
        for path in files {
            let failed = || format!("--orders: {}", path.display());
            let file = File::open(&path).with_context(failed)?;
            invoices.take(csv::Reader::from_reader(file), &mut places).with_context(failed)?;
        }
        Ok(invoices)
    }

    fn take(
        &mut self,
        mut rows: csv::Reader<impl std::io::Read>,
        places: &mut BTreeMap<String, usize>,
    ) -> anyhow::Result<()> {
        for row in rows.deserialize() {
            let row: Row = row?;
            let place = *places.entry(row.invoice_no.clone()).or_insert_with(|| {
                self.0.push(Invoice {
                    number: row.invoice_no.clone(),
                    member: None,
                    // The shop is in Britain, and these are winter days.
                    time: format!("{}Z", row.invoice_date.replace(' ', "T")),
                    country: row.country.clone(),
                    lines: Vec::new(),
                    pence: 0.0,
                });
                self.0.len() - 1
            });
            let Some(invoice) = self.0.get_mut(place) else { continue };
            let customer = row.customer.trim_end_matches(".0");
            if invoice.member.is_none() && !customer.is_empty() {
                invoice.member = Some(customer.to_owned());
            }
            let Row { stock_code, description, quantity, unit_price, .. } = row;
            invoice.pence += f64::from(i32::try_from(quantity)?) * unit_price * 100.0;
            invoice.lines.push(json!({
                "sku": stock_code, "description": description,
                "quantity": quantity, "unit_price": unit_price,
            }));
        }
        Ok(())
    }

    pub(in crate::demo) fn len(&self) -> usize {
        self.0.len()
    }

    /// The events: the invoices over all tills, and then the claims in the web shop.
    pub(in crate::demo) fn plan(
        &self,
        seed: u64,
        minutes: u32,
        example: &Configuration,
    ) -> anyhow::Result<Plan> {
        let day = Duration::from_mins(minutes.into());
        let mut draws = ChaCha8Rng::seed_from_u64(seed);
        let tills: Vec<&ChannelId> = example
            .channels
            .iter()
            .filter(|(_, channel)| channel.kind == ChannelKind::Till)
            .map(|(id, _)| id)
            .collect();
        if tills.is_empty() {
            bail!("the example has no till; add a channel of kind till");
        }
        let mut made = Plan::default();
        for (number, invoice) in self.0.iter().enumerate() {
            let share = at_share(u64::try_from(number)?, u64::try_from(self.0.len())?);
            let due = day.mul_f64(share * INVOICES_UNTIL);
            made.add(&mut draws, tills[number % tills.len()], due, invoice.told());
        }
        for posts in made.lanes.values_mut() {
            *posts = gathered(std::mem::take(posts));
        }
        self.claims(&mut draws, day, &mut made)?;
        Ok(made)
    }

    fn claims(&self, draws: &mut ChaCha8Rng, day: Duration, made: &mut Plan) -> anyhow::Result<()> {
        let members: Vec<&String> =
            self.0.iter().filter_map(|invoice| invoice.member.as_ref()).collect();
        let mut unknown: Vec<&Invoice> =
            self.0.iter().filter(|invoice| invoice.member.is_none()).collect();
        unknown.shuffle(draws);
        unknown.truncate(unknown.len() / 3);
        let shop: ChannelId = SHOP.parse()?;
        let of = u64::try_from(unknown.len())?;
        for (number, invoice) in (0..).zip(&unknown) {
            // Most are members already; for the others it is the first thing known of them.
            let known = members.choose(draws).filter(|_| draws.random_ratio(3, 4));
            let member = known.map_or_else(
                || format!("member:web-{}", invoice.number),
                |member| format!("member:{member}"),
            );
            let receipt = invoice.receipt();
            let share = INVOICES_UNTIL + at_share(number, of) * (1.0 - INVOICES_UNTIL);
            let event = format!("claim-{}", invoice.number);
            let data = json!({"identifiers": [member, receipt]});
            let told = Told { id: event.clone(), kind: Business::MemberUpdated, time: None, data };
            made.add(draws, &shop, day.mul_f64(share), told);
            made.claims.push(Claim { event, member, receipt });
        }
        Ok(())
    }
}

impl Invoice {
    fn receipt(&self) -> String {
        format!("external:receipt:{}", self.number)
    }

    fn told(&self) -> Told {
        let cancels = self.number.starts_with('C');
        let identifier = self
            .member
            .as_ref()
            .map_or_else(|| self.receipt(), |member| format!("member:{member}"));
        let data = json!({
            "identifiers": [identifier],
            "invoice": self.number,
            "country": self.country,
            "currency": "GBP",
            "total": (self.pence.round() / 100.0),
            "lines": self.lines,
        });
        Told {
            id: format!("{INVOICE}{}", self.number),
            kind: if cancels { Business::OrderCancelled } else { Business::OrderPlaced },
            time: Some(self.time.clone()),
            data,
        }
    }
}

/// Neighbours in one POST, as long as it stays small.
fn gathered(posts: Vec<Post>) -> Vec<Post> {
    let mut gathered: Vec<Post> = Vec::new();
    let mut bytes = 0;
    for post in posts {
        let size: usize = post.told.iter().map(|told| told.data.to_string().len()).sum();
        let fits = bytes + size <= MOST_BATCH_BYTES;
        let room = |last: &&mut Post| fits && last.told.len() < MOST_BATCH;
        if let Some(last) = gathered.last_mut().filter(room) {
            bytes += size;
            last.due = post.due;
            last.told.extend(post.told);
        } else {
            bytes = size;
            gathered.push(Post { shape: Shape::Batch, ..post });
        }
    }
    gathered
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\
        536365,85123A,\"HEART, WHITE\",6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n\
        536365,71053,LANTERN,6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom\n\
        C536379,D,Discount,-1,2010-12-01 09:41:00,27.5,14527.0,United Kingdom\n\
        536414,22139,,56,2010-12-01 11:52:00,0.0,,United Kingdom\n\
        536544,21773,ROSE,1,2010-12-01 14:32:00,2.51,,United Kingdom\n\
        536545,21773,ROSE,1,2010-12-01 14:33:00,2.51,,United Kingdom\n";

    fn invoices(text: &str) -> anyhow::Result<Invoices> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("1.csv"), text).unwrap();
        Invoices::read(folder.path())
    }

    fn planned(text: &str) -> Plan {
        let example = crate::tree::merge(&crate::demo::stage::example()).unwrap();
        invoices(text).unwrap().plan(7, 10, &example).unwrap()
    }

    #[test]
    fn an_invoice_is_one_event_of_a_member_or_of_a_receipt() {
        let plan = planned(FILE);
        let told: BTreeMap<_, _> = plan
            .lanes
            .values()
            .flatten()
            .flat_map(|post| &post.told)
            .map(|told| (told.id.as_str(), told))
            .collect();
        assert_eq!(told.len(), 6);
        let first = told["invoice-536365"];
        assert_eq!(first.kind, Business::OrderPlaced);
        assert_eq!(first.time.as_deref(), Some("2010-12-01T08:26:00Z"));
        assert_eq!(first.data["identifiers"], json!(["member:17850"]));
        assert_eq!(first.data["total"], json!(35.64));
        assert_eq!(first.data["lines"][0]["description"], "HEART, WHITE");
        assert_eq!(told["invoice-C536379"].kind, Business::OrderCancelled);
        let unknown = told["invoice-536414"];
        assert_eq!(unknown.data["identifiers"], json!(["external:receipt:536414"]));
        let [claim] = &plan.claims[..] else { panic!("{:?}", plan.claims) };
        assert_eq!(
            told[claim.event.as_str()].data["identifiers"],
            json!([claim.member, claim.receipt])
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_place() {
        let error = invoices(&FILE.replace(",2.55,", ",free,")).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("1.csv") && text.contains("line: 2"), "{text}");
        let folder = tempfile::tempdir().unwrap();
        let error = Invoices::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("holds no *.csv file"), "{error}");
        assert!(Invoices::read(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_large_invoice_stands_alone() {
        let line = "1,A,B,1,2010-12-01 08:26:00,1.0,,UK\n";
        let head = FILE.lines().next().unwrap();
        let many: String = (0..2_500).map(|_| line).collect();
        let next = line.replacen('1', "2", 1);
        let posts = planned(&format!("{head}\n{many}{next}")).lanes;
        assert!(posts.values().flatten().all(|post| post.told.len() == 1));
    }
}
