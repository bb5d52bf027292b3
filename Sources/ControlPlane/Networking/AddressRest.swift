import Postgres

/// Addresses that were given back.
enum AddressRest {
  /// Removes rows of addresses that have rested long enough for anybody to have them. Returns how many there were.
  static func end(atMost limit: Int, in session: Session) throws -> Int {
    try session.execute(
      """
      DELETE FROM addresses WHERE (subnet_id, address) IN (
        SELECT subnet_id, address FROM addresses WHERE released_at < aloft_now() - interval '10 minutes'
         ORDER BY subnet_id, address LIMIT \(limit) FOR UPDATE SKIP LOCKED)
      """)
  }
}
