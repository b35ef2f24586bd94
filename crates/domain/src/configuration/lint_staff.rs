use std::collections::BTreeSet;

use super::lint::Findings;
use super::{CAPACITY_AT_MOST, Configuration, Rule, Who};
use crate::BrandId;

impl Configuration {
    pub(super) fn lint_desks(&self, findings: &mut Findings) {
        for (id, desk) in &self.desks {
            self.lint_brands(&format!("desks.{id}.brands"), &desk.brands, findings);
        }
    }

    fn lint_brands(&self, path: &str, brands: &BTreeSet<BrandId>, findings: &mut Findings) {
        for brand in brands.iter().filter(|brand| !self.brands.contains_key(*brand)) {
            findings.add(path, format!("no brand {brand}; add it under brands"));
        }
    }

    pub(super) fn lint_staff(&self, findings: &mut Findings) {
        for (id, member) in &self.staff {
            let path = format!("staff.{id}");
            self.lint_brands(&format!("{path}.brands"), &member.brands, findings);
            match (&member.store, &member.desk) {
                (Some(store), None) if !self.stores.contains_key(store) => {
                    findings.add(
                        format!("{path}.store"),
                        format!("no store {store}; add it under stores"),
                    );
                }
                (None, Some(desk)) if !self.desks.contains_key(desk) => {
                    findings
                        .add(format!("{path}.desk"), format!("no desk {desk}; add it under desks"));
                }
                (Some(_), None) | (None, Some(_)) => {}
                (None, None) => findings.add(&*path, "works nowhere; give a store or a desk"),
                (Some(_), Some(_)) => {
                    findings.add(&*path, "works in a store and at a desk; leave one out");
                }
            }
            if let Some(shift) =
                member.shift.as_ref().filter(|shift| !self.calendars.contains_key(*shift))
            {
                findings.add(
                    format!("{path}.shift"),
                    format!("no calendar {shift}; add it under calendars"),
                );
            }
            if !(1..=CAPACITY_AT_MOST).contains(&member.capacity) {
                findings.add(
                    format!("{path}.capacity"),
                    format!("is {}; write 1 to {CAPACITY_AT_MOST}", member.capacity),
                );
            }
            match &member.delegate {
                Some(delegate) if delegate == id => {
                    findings.add(format!("{path}.delegate"), "stands in for itself; name another");
                }
                Some(delegate) if !self.staff.contains_key(delegate) => findings.add(
                    format!("{path}.delegate"),
                    format!("no staff {delegate}; add it under staff"),
                ),
                Some(_) | None => {}
            }
        }
    }

    /// A chain ends with a target that has somebody, whatever the customer: a desk.
    pub(super) fn lint_targets(&self, path: &str, rule: &Rule, findings: &mut Findings) {
        let Some((last, before)) = rule.targets.split_last() else { return };
        for (index, target) in rule.targets.iter().enumerate() {
            let path = format!("{path}.targets[{index}]");
            if rule.targets[..index].iter().any(|earlier| earlier.who == target.who) {
                findings
                    .add(&*path, format!("{} is tried before; leave one out", target.who.name()));
            }
            if index < before.len() && target.within.is_none() {
                let example = format!("write e.g. {} 120s", target.who.name());
                findings
                    .add(path, format!("would be tried for ever and the next never; {example}"));
            }
        }
        let central = self.desks.values().any(super::Desk::is_central);
        match last.who {
            Who::CentralDesk if !central => {
                findings.add(
                    format!("{path}.targets"),
                    "there is no central desk; add one without brands under desks",
                );
            }
            Who::CentralDesk => {}
            Who::BoundStaff | Who::StoreOnShift | Who::BrandDesk => findings.add(
                format!("{path}.targets"),
                "has no last target that everybody has; end it with central_desk",
            ),
        }
        if !self.staff.values().any(|member| {
            let desk = member.desk.as_ref().and_then(|desk| self.desks.get(desk));
            desk.is_some_and(super::Desk::is_central)
        }) && central
        {
            findings.add(
                format!("{path}.targets"),
                "nobody works at the central desk; add somebody under staff",
            );
        }
    }
}
