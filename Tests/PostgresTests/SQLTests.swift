import Testing

@testable import Postgres

@Suite struct SQLTests {
  @Test("a value becomes a placeholder and never text")
  func binds() {
    let name = "x'; DROP TABLE vms; --"
    let sql: SQL = "SELECT 1 FROM vms WHERE name = \(name) AND cpu > \(4)"
    #expect(sql.text == "SELECT 1 FROM vms WHERE name = $1 AND cpu > $2")
    #expect(sql.values == [.text(name), .text("4")])
  }

  @Test("fragments are numbered anew, wherever they are put")
  func fragments() {
    let inner: SQL = "a = \(1) OR b = \("two")"
    let nested: SQL = "(\(fragment: inner)) AND c = \(true)"
    let whole: SQL = "SELECT \(0) WHERE \(fragment: nested) LIMIT \(9)\(raw: " OFFSET 0")"
    #expect(whole.text == "SELECT $1 WHERE (a = $2 OR b = $3) AND c = $4 LIMIT $5 OFFSET 0")
    #expect(whole.values == [.text("0"), .text("1"), .text("two"), .text("t"), .text("9")])
  }

  @Test("many joined pieces keep their numbers beyond nine")
  func joined() {
    let list = SQL.joined((1...12).map { "\($0)" })
    let sql: SQL = "IN (\(fragment: list))"
    #expect(sql.text == "IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)")
    let behind: SQL = "\(0) \(fragment: sql)"
    #expect(behind.text.hasSuffix("$12, $13)"))
    #expect(behind.values.last == .text("12"))
  }

  @Test("an identifier stays one identifier")
  func identifiers() {
    let sql: SQL = "SELECT \(identifier: #"we"ird; --"#)"
    #expect(sql.text == #"SELECT "we""ird; --""#)
    // One character to Swift, a quote and a mark to the server.
    let marked: SQL = "SELECT \(identifier: "a\"\u{301}; --")"
    #expect(Array(marked.text.utf8) == Array("SELECT \"a\"\"\u{301}; --\"".utf8))
  }

  @Test("nil is NULL, arrays are array literals, bytes are bytes")
  func values() {
    let nothing: String? = nil
    let sql: SQL = "\(nothing) \(["a", #"b"\"#, "", "NULL"]) \([1, 2]) \([UInt8(1), 255])"
    #expect(sql.values == [.null, .text(#"{"a","b\"\\","","NULL"}"#), .text(#"{"1","2"}"#), .bytes([1, 255])])
  }
}

@Suite struct PureRulesTests {
  @Test("the statement cache forgets the least recently used, and only beyond its bound")
  func cache() {
    var cache = StatementCache(capacity: 4)
    let first = cache.add("a")
    for text in ["b", "c", "d"] { _ = cache.add(text) }
    #expect(cache.overflow().isEmpty)
    #expect(cache.name(for: "a") == first)
    _ = cache.add("e")
    #expect(cache.overflow().count == 2)
    #expect(cache.name(for: "a") == first)
    #expect(cache.name(for: "b") == nil)
    #expect(cache.name(for: "c") == nil)
    #expect(cache.count == 3)
  }

  @Test("backoff doubles up to its limit, between half and all of it")
  func backoff() {
    let low = Backoff(first: .milliseconds(10), limit: .seconds(1)) { 0 }
    let high = Backoff(first: .milliseconds(10), limit: .seconds(1)) { 1 }
    #expect(low.delay(attempt: 1) == .milliseconds(5))
    #expect(high.delay(attempt: 3) == .milliseconds(40))
    #expect(high.delay(attempt: 1_000) == .seconds(1))
  }

  private final class Waiter {}

  @Test("waiters are served in order, and one that is withdrawn is skipped")
  func pool() {
    var pool = PoolState<Waiter>(workers: 1)
    let jobs = (0..<4).map { _ in Waiter() }
    guard case .start(worker: 0) = pool.submit(jobs[0]) else {
      Issue.record("an idle worker was not used")
      return
    }
    guard case .wait(isFirst: true) = pool.submit(jobs[1]), case .wait(isFirst: false) = pool.submit(jobs[2]),
      case .wait(isFirst: false) = pool.submit(jobs[3])
    else {
      Issue.record("a job did not wait although all workers are busy")
      return
    }
    let withdrawn = (pool.withdraw(jobs[1]), pool.withdraw(jobs[1]))
    #expect(withdrawn == (true, false))
    let next = pool.finished(0, connected: true)
    #expect(next === jobs[2])
    #expect(pool.worker(running: jobs[2]) == 0)
    let expiry = pool.expire { $0 === jobs[3] }
    #expect(expiry.expired.first === jobs[3] && expiry.next == nil)
    let last = pool.finished(0, connected: true)
    #expect(last == nil)
    #expect(pool.shutDown().isEmpty)
    guard case .refuse = pool.submit(jobs[0]) else {
      Issue.record("a job was taken after the shutdown")
      return
    }
  }

  @Test("a worker without a connection is used last")
  func preference() {
    var pool = PoolState<Waiter>(workers: 2)
    _ = (pool.submit(Waiter()), pool.submit(Waiter()))
    _ = (pool.finished(0, connected: true), pool.finished(1, connected: false))
    guard case .start(worker: 0) = pool.submit(Waiter()) else {
      Issue.record("the worker without a connection was preferred")
      return
    }
  }

  @Test("a listener that does not keep up is told to look at everything, once there is room")
  func gap() {
    var gap = NotificationGap()
    var heard: [Notification] = []
    for room in [true, false, false, true, true] {
      gap.offer(.message(channel: "c", payload: "\(heard.count)")) { notification in
        if room { heard.append(notification) }
        return room
      }
    }
    #expect(
      heard == [.message(channel: "c", payload: "0"), .resync, .message(channel: "c", payload: "2")])
  }

  @Test(
    "migration files are named NNNN_what.sql",
    arguments: [
      ("0042_vms.sql", 42), ("1_x.sql", nil), ("00x1_vms.sql", nil), ("0001vms.sql", nil), ("0001_.sql", nil),
    ])
  func migrationNames(name: String, number: Int?) {
    #expect(MigrationFile.number(ofFile: name) == number)
  }
}
