import AloftModel
import Execution
import Foundation
import HTTP
import Postgres

/// This replica's own figures, in Prometheus' text format.
final class PlaneMetrics: Sendable {
  /// Upper bounds in seconds.
  private static let buckets = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60]

  private struct Key: Hashable {
    var operation: String
    var status: Int
  }

  private struct Histogram {
    var counts = [UInt64](repeating: 0, count: PlaneMetrics.buckets.count + 1)
    var sum = 0.0

    mutating func add(_ seconds: Double) {
      counts[PlaneMetrics.buckets.firstIndex { seconds <= $0 } ?? PlaneMetrics.buckets.count] += 1
      sum += seconds
    }
  }

  private struct State {
    var requests: [Key: UInt64] = [:]
    var durations: [String: Histogram] = [:]
    var webhookAttempts: [WebhookFailure?: UInt64] = [:]
  }

  private let state = Lock(State())
  /// What the HTTP server has counted; nil while there is none.
  let server = Lock<(@Sendable () -> Statistics)?>(nil)

  /// Counts an answer. Operations come from the contract and statuses from the closed list, so the set of series is bounded.
  func answered(operation: String, status: Int, seconds: Double) {
    state.withLock { state in
      state.requests[Key(operation: operation, status: status), default: 0] += 1
      state.durations[operation, default: Histogram()].add(seconds)
    }
  }

  /// Counts an attempt to deliver to a webhook; nil: it was taken.
  func attempted(_ failure: WebhookFailure?) {
    state.withLock { $0.webhookAttempts[failure, default: 0] += 1 }
  }

  private var webhookLines: [String] {
    let attempts = state.withLock { $0.webhookAttempts }
    let results = [nil] + WebhookFailure.allCases.map { Optional($0) }
    return ["# TYPE aloft_webhook_attempts_total counter"]
      + results.map { result in
        "aloft_webhook_attempts_total{result=\"\(result?.rawValue ?? "delivered")\"} \(attempts[result] ?? 0)"
      }
  }

  /// - Parameter streams: how many serial logs agents bring to clients of this replica now.
  private var serverLines: [String] {
    guard let counted = server.withLock({ $0 })?() else { return [] }
    return [
      ("connections", "gauge", counted.openConnections), ("connections_accepted_total", "counter", counted.accepted),
      ("connections_refused_total", "counter", counted.refusedConnections),
      ("handshake_failures_total", "counter", counted.handshakeFailures),
      ("requests_refused_total", "counter", counted.refusedRequests),
      ("timeouts_total", "counter", counted.timeouts), ("received_bytes_total", "counter", counted.bytesReceived),
      ("sent_bytes_total", "counter", counted.bytesSent),
    ].flatMap { name, kind, value in ["# TYPE aloft_http_\(name) \(kind)", "aloft_http_\(name) \(value)"] }
  }

  func text(gauges: PlaneGauges, streams: Int) -> [UInt8] {
    let (requests, durations) = state.withLock { ($0.requests, $0.durations) }
    var lines = ["# TYPE aloft_http_requests_total counter"]
    for (key, count) in requests.sorted(by: { ($0.key.operation, $0.key.status) < ($1.key.operation, $1.key.status) }) {
      lines.append("aloft_http_requests_total{operation=\"\(key.operation)\",status=\"\(key.status)\"} \(count)")
    }
    lines.append("# TYPE aloft_http_request_duration_seconds histogram")
    for (operation, histogram) in durations.sorted(by: { $0.key < $1.key }) {
      var total: UInt64 = 0
      for (index, count) in histogram.counts.enumerated() {
        total += count
        let bound = index < Self.buckets.count ? "\(Self.buckets[index])" : "+Inf"
        lines.append("aloft_http_request_duration_seconds_bucket{operation=\"\(operation)\",le=\"\(bound)\"} \(total)")
      }
      lines.append("aloft_http_request_duration_seconds_sum{operation=\"\(operation)\"} \(histogram.sum)")
      lines.append("aloft_http_request_duration_seconds_count{operation=\"\(operation)\"} \(total)")
    }
    lines += ["# TYPE aloft_streams_open gauge", "aloft_streams_open \(streams)"]
    lines += webhookLines
    lines += serverLines
    lines += gauges.lines
    return Array((lines.joined(separator: "\n") + "\n").utf8)
  }
}

/// Reads the figures of the whole cloud at most every ``lifetime``, however many ask for them.
actor GaugeCache {
  /// Some of the figures are counted over all VMs; those who scrape come every 15 to 60 seconds.
  static let lifetime = 15.0

  private let database: Database
  private let environment: Environment
  private var latest: (at: TimeInterval, reading: Task<PlaneGauges, any Error>)?

  init(database: Database, environment: Environment) {
    self.database = database
    self.environment = environment
  }

  func gauges() async throws -> PlaneGauges {
    let now = environment.uptime()
    if let latest, now - latest.at < Self.lifetime { return try await latest.reading.value }
    let reading = Task { [database] in try await database.run { session in try PlaneGauges.read(in: session) } }
    latest = (now, reading)
    do {
      return try await reading.value
    } catch {
      // The next one tries again.
      if latest?.at == now { latest = nil }
      throw error
    }
  }
}

/// Figures of the whole cloud, from the database.
struct PlaneGauges: Sendable {
  var lines: [String] = []

  /// One gauge: a query whose rows are a count and, where there is one, the value of `label`.
  private struct Source {
    var name: String
    var label: String?
    var sql: SQL
  }

  private static let sources = [
    Source(
      name: "aloft_vms", label: "desired_power",
      sql: "SELECT count(*), desired_power FROM vms WHERE deleted_at IS NULL GROUP BY 2 ORDER BY 2"),
    Source(
      name: "aloft_nodes", label: "state",
      sql: """
        SELECT count(*), CASE WHEN down_since IS NOT NULL THEN 'down' WHEN schedulable THEN 'ready' ELSE 'cordoned' END
          FROM nodes GROUP BY 2 ORDER BY 2
        """),
    Source(
      name: "aloft_webhooks", label: "state",
      sql: """
        SELECT count(*), CASE WHEN NOT enabled THEN 'disabled' WHEN failures > 0 THEN 'failing' ELSE 'healthy' END
          FROM webhooks GROUP BY 2 ORDER BY 2
        """),
    Source(
      name: "aloft_webhook_deliveries_pending", sql: "SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'"),
    Source(name: "aloft_operations_open", sql: "SELECT count(*) FROM operations WHERE finished_at IS NULL"),
    Source(name: "aloft_work_due", sql: "SELECT count(*) FROM work WHERE due_at <= aloft_now()"),
    Source(name: "aloft_work_failing", sql: "SELECT count(*) FROM work WHERE last_error IS NOT NULL"),
  ]

  static func read(in session: Session) throws -> PlaneGauges {
    var gauges = PlaneGauges()
    for source in sources {
      gauges.lines.append("# TYPE \(source.name) gauge")
      for row in try session.query(source.sql) {
        let count: Int = try row.get(0)
        var labels = ""
        if let label = source.label { labels = "{\(label)=\"\(try row.get(1, as: String.self))\"}" }
        gauges.lines.append("\(source.name)\(labels) \(count)")
      }
    }
    return gauges
  }
}
