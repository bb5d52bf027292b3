// OVN's northbound database (ovn-nb(5)) as a function of the cloud's networks.
//
// Invariants
// - What is wanted is a pure function of a `NetworkModel`: the same model gives the same rows with the same UUIDs, whoever computes
//   them, and whether in one go or change by change.
// - A row whose existence is one object's has that object's UUID; all others have UUIDs that are derived from their owner's.
// - Matches and options are written from typed values only. Text of users stands in `external_ids`, nowhere else; names in DNS
//   are checked letter by letter before.
// - Every row of ours says so in `external_ids:aloft-owner`. Rows that do not are other people's and are left alone.
