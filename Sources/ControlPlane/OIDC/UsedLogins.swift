import AloftModel
import Postgres

/// The rows of `used_logins`: a login by an issuer is finished once.
enum UsedLogins {
  static let again = Problem(
    .loginFailed, "this login was finished before; begin anew: GET /v1/login/oidc lists where")

  static func isUsed(_ cookie: LoginCookie, in session: Session) throws -> Bool {
    try session.one("SELECT 1 FROM used_logins WHERE state_hash = \(cookie.hash)") != nil
  }

  /// Throws where it was finished before; of two at once one is.
  static func use(_ cookie: LoginCookie, in session: Session) throws {
    let made = try session.execute(
      "INSERT INTO used_logins (state_hash) VALUES (\(cookie.hash)) ON CONFLICT DO NOTHING")
    if made == 0 { throw again }
  }

  /// Forgets those whose cookies are too old to be shown again. Returns how many.
  static func expire(atMost limit: Int, in session: Session) throws -> Int {
    try session.execute(
      """
      DELETE FROM used_logins WHERE state_hash IN (
        SELECT state_hash FROM used_logins WHERE at < aloft_now() - interval '1 day'
         ORDER BY at LIMIT \(limit) FOR UPDATE SKIP LOCKED)
      """)
  }
}
