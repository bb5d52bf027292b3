import Foundation
import Testing

@testable import Postgres

@Suite struct ValueTests {
  enum Power: String, PostgresCodable {
    case on, off
  }

  @Test(
    "text comes back as it was, whatever it holds",
    arguments: [
      "", "it's", #"a "quoted" \ backslash"#, "'; DROP TABLE x; --", "Grüße 🐘 \u{1F468}\u{200D}\u{1F469}", "a\tb\r\nc",
      "$1 %s {}",
    ])
  func text(value: String) async throws {
    let database = try await makeDatabase(poolSize: 1)
    let row = try await database.one("SELECT \(value)::text, length(\(value)), \([value, "x"])::text[]")
    #expect(try row?.get(0) == value)
    #expect(try row?.get(1) == value.unicodeScalars.count)
    #expect(try row?.get(2) == [value, "x"])
    await database.shutdown()
  }

  @Test("every type comes back as it was")
  func types() async throws {
    let database = try await makeDatabase(poolSize: 1)
    let id = UUID()
    let bytes = (0...255).map { UInt8($0) }
    let nothing: Int? = nil
    let row = try #require(
      try await database.one(
        """
        SELECT \(true)::bool AS yes, \(Int.min)::bigint AS least, \(Int32.max)::int, \(0.1 + 0.2)::float8, \(id)::uuid,
          \(bytes)::bytea, \(Data(bytes))::bytea, \(nothing)::int, \(Power.off)::text, \(JSONText(#"{"a": [1]}"#))::jsonb,
          \([Int.max, 0])::bigint[], \([id])::uuid[], \([String?.some("a,b"), nil])::text[], \([String]())::text[],
          \(Double.infinity)::float8, '\\x'::bytea, \(UInt64(1) << 62)::bigint, \(String?.some("some"))::text
        """))
    #expect(try row.decode("yes") == true)
    #expect(try row.decode("least") == Int.min)
    #expect(try row.get(2) == Int32.max)
    #expect(try row.get(3) == 0.1 + 0.2)
    #expect(try row.get(4) == id)
    #expect(try row.get(5) == bytes)
    #expect(try row.get(6) == Data(bytes))
    #expect(try row.get(7) == Int?.none)
    #expect(try row.get(8) == Power.off)
    #expect(try row.get(9) == JSONText(#"{"a": [1]}"#))
    #expect(try row.get(10) == [Int.max, 0])
    #expect(try row.get(11) == [id])
    #expect(try row.get(12) == ["a,b", nil])
    #expect(try row.get(13) == [String]())
    #expect(try row.get(14) == Double.infinity)
    #expect(try row.get(15) == [UInt8]())
    #expect(try row.get(16) == UInt64(1) << 62)
    #expect(try row.get(17) == String?.some("some"))
    await database.shutdown()
  }

  @Test(
    "a time is kept to the microsecond, from before the common era to far ahead",
    arguments: [
      ("1970-01-01 00:00:00+00", 0.0), ("2024-02-29 23:59:59.999999+00", 1_709_251_199.999999),
      ("1969-12-31 23:59:59.5+00", -0.5), ("0001-01-01 00:00:00+00", -62_135_596_800.0),
      ("0044-03-15 12:00:00+00 BC", -63_517_780_800.0), ("12024-01-01 00:00:00+00", 317_273_587_200.0),
    ])
  func times(text: String, seconds: Double) async throws {
    let database = try await makeDatabase(poolSize: 1)
    let date = Date(timeIntervalSince1970: seconds)
    let row = try #require(
      try await database.one(
        "SELECT \(text)::timestamptz, \(date)::timestamptz, \(date) = \(text)::timestamptz, extract(epoch from \(text)::timestamptz)::float8"
      ))
    #expect(try row.get(3) == seconds)
    #expect(abs(try row.get(0, as: Date.self).timeIntervalSince1970 - seconds) < 0.000_001)
    #expect(try row.get(1, as: Date.self) == row.get(0, as: Date.self))
    #expect(try row.get(2) == true)
    await database.shutdown()
  }

  @Test(
    "an interval is a duration",
    arguments: [Duration.zero, .microseconds(1), .milliseconds(-1_500), .seconds(90_061), .seconds(100_000_000_000)])
  func intervals(duration: Duration) async throws {
    let database = try await makeDatabase(poolSize: 1)
    let row = try #require(
      try await database.one(
        "SELECT \(duration)::interval, justify_hours(\(duration)::interval), extract(epoch from \(duration)::interval)::float8"
      ))
    #expect(try row.get(0) == duration)
    #expect(try row.get(1) == duration)
    #expect(
      try row.get(2, as: Double.self) * 1_000_000 == Double(duration.components.seconds) * 1_000_000
        + Double(duration.components.attoseconds / 1_000_000_000_000))
    await database.shutdown()
  }

  @Test("random timestamps are written as PostgreSQL writes them")
  func randomTimes() async throws {
    let database = try await makeDatabase(poolSize: 1)
    var generator = SystemRandomNumberGenerator()
    let times = (0..<2_000).map { _ in
      Int64.random(in: -200_000_000_000_000_000...200_000_000_000_000_000, using: &generator)
    }
    let rows = try await database.query(
      """
      SELECT m, (t::timestamptz)::text, (extract(epoch FROM t::timestamptz) * 1000000)::bigint = m
      FROM unnest(\(times)::bigint[], \(times.map { Timestamp.text(microseconds: $0) })::text[]) AS x (m, t)
      """)
    #expect(rows.count == times.count)
    for row in rows {
      let (microseconds, text): (Int64, String) = (try row.get(0), try row.get(1))
      #expect(Array(text.utf8).withUnsafeBufferPointer { Timestamp.microseconds($0) } == microseconds)
      #expect(try row.get(2) == true)
    }
    await database.shutdown()
  }

  @Test("a cell that does not fit names the column and the type, and not the value")
  func decodeErrors() async throws {
    let database = try await makeDatabase(poolSize: 1)
    let row = try #require(
      try await database.one(
        "SELECT 'secret'::text AS word, NULL::int AS gap, 300 AS wide, 'sideways' AS power, '1 month'::interval AS span"
      ))
    for (body, column) in [
      ({ _ = try row.decode("word", as: Int.self) }, "word"), ({ _ = try row.get(1, as: Int.self) }, "gap"),
      ({ _ = try row.decode("power", as: Power.self) }, "power"), ({ _ = try row.get(4, as: Duration.self) }, "span"),
      ({ _ = try row.decode("nowhere", as: Int.self) }, "nowhere"), ({ _ = try row.get(9, as: Int.self) }, "9"),
    ] as [(() throws -> Void, String)] {
      let error = await failure { try body() }
      #expect(error?.kind == .decode)
      #expect(error?.description.contains(column) == true)
      #expect(error?.description.contains("secret") == false && error?.description.contains("sideways") == false)
    }
    await database.shutdown()
  }

  @Test("text with a NUL character is refused, not cut")
  func nul() async throws {
    let database = try await makeDatabase(poolSize: 1)
    #expect(await failureKind { try await database.query("SELECT \("a\0b")::text") } == .encode)
    #expect(try await database.one("SELECT 1")?.get(0) == 1)
    await database.shutdown()
  }
}
