import Foundation
import JSON

extension Presentation.Column {
  /// A member as it is.
  static func member(_ title: String, _ name: String) -> Self {
    Self(title) { item, _ in Table.Cell(Presentation.plain(item[name])) }
  }

  /// A state or status, coloured by what it means.
  static func state(_ title: String, _ name: String) -> Self {
    Self(title) { item, _ in
      let text = Presentation.plain(item[name])
      return Table.Cell(text, tone: Style.tone(ofState: text))
    }
  }

  /// A moment as how long ago it was.
  static func age(_ title: String, _ name: String) -> Self {
    Self(title) { item, now in
      guard let text = item[name]?.stringValue, let then = RFC3339.date(from: text) else { return "-" }
      return Table.Cell(Figures.age(from: then, to: now))
    }
  }

  /// An amount in MiB.
  static func mebibytes(_ title: String, _ name: String) -> Self {
    Self(title) { item, _ in Table.Cell(item[name]?.intValue.map(Figures.mebibytes) ?? "-") }
  }

  /// An amount in GiB.
  static func gibibytes(_ title: String, _ name: String) -> Self {
    Self(title) { item, _ in Table.Cell(item[name]?.intValue.map { "\($0) GiB" } ?? "-") }
  }

  /// An amount in bytes.
  static func bytes(_ title: String, _ name: String) -> Self {
    Self(title) { item, _ in Table.Cell(item[name]?.integerValue.map(Figures.bytes) ?? "-") }
  }

  /// Claimed of capacity.
  static func claimed(_ title: String, _ name: String) -> Self {
    Self(title) { item, _ in
      let claimed = Presentation.plain(item["claimed"]?[name])
      return Table.Cell("\(claimed)/\(Presentation.plain(item["capacity"]?[name]))")
    }
  }
}

extension Presentation {
  static let audit = Presentation(
    columns: [
      .member("AT", "at"), .member("USER", "user_name"), .member("OPERATION", "operation"),
      .member("RESOURCE", "resource_id"),
      .member("OUTCOME", "outcome"), .member("REFUSAL", "refusal"), .member("PEER", "peer"),
    ], nameMember: "request_id")

  static let vm = Presentation(
    columns: [
      .member("NAME", "name"), .state("STATE", "state"), .member("NODE", "node"), .member("VCPUS", "vcpus"),
      .mebibytes("MEMORY", "memory_mib"), .gibibytes("DISK", "disk_gib"), .age("AGE", "created_at"),
      .member("REASON", "reason"),
    ], nameMember: "name")

  static let image = Presentation(
    columns: [
      .member("NAME", "name"), .state("STATE", "state"), .member("FORMAT", "format"), .bytes("SIZE", "size_bytes"),
      .bytes("DISK", "virtual_size_bytes"), .member("ARCHITECTURE", "architecture"),
      .member("VISIBILITY", "visibility"), .age("AGE", "created_at"),
    ], nameMember: "name")

  static let node = Presentation(
    columns: [
      .member("NAME", "name"), .state("STATE", "state"), .member("POOL", "pool"),
      .member("ACCELERATOR", "accelerator"), .claimed("VCPUS", "vcpus"), .claimed("MEMORY-MIB", "memory_mib"),
      .claimed("DISK-GIB", "disk_gib"), .age("SEEN", "last_seen_at"),
    ], nameMember: "name")

  static let nodePool = Presentation(
    columns: [
      .member("NAME", "name"), .member("STRATEGY", "strategy"), .member("CPU", "cpu_overcommit"),
      .member("MEMORY", "memory_overcommit"), .member("DISK", "disk_overcommit"),
    ], nameMember: "name")

  static let nodeToken = Presentation(
    columns: [
      .member("ID", "id"), .member("POOL", "pool"), .member("EXPIRES", "expires_at"), .member("NODE", "node_id"),
      .member("DESCRIPTION", "description"),
    ], nameMember: "id")

  static let operation = Presentation(
    columns: [
      .member("ID", "id"), .member("KIND", "kind"), .state("STATUS", "status"), .member("RESOURCE", "resource_id"),
      .age("AGE", "created_at"),
      Column("DETAIL") { item, _ in Table.Cell(plain(item["error"]?["detail"] ?? item["waiting_for"])) },
    ], nameMember: "id")

  static let project = Presentation(
    columns: [
      .member("NAME", "name"), .state("STATE", "state"), .member("ID", "id"), .age("AGE", "created_at"),
    ], nameMember: "name")

  static let member = Presentation(
    columns: [
      .member("USER", "user_name"), .member("KIND", "kind"), .member("ROLE", "role"), .member("ID", "user_id"),
      .age("AGE", "created_at"),
    ], nameMember: "user_name")

  static let webhook = Presentation(
    columns: [
      .member("NAME", "name"), .member("ENABLED", "enabled"), .member("DISABLED-BECAUSE", "disabled_reason"),
      .age("FAILING", "failing_since"), .member("EVENTS", "events"), .member("URL", "url"), .age("AGE", "created_at"),
    ], nameMember: "name")

  static let webhookDelivery = Presentation(
    columns: [
      .member("ID", "id"), .member("KIND", "kind"), .state("STATE", "state"), .member("ATTEMPTS", "attempts"),
      .member("STATUS", "status"), .age("TRIED", "last_attempt_at"),
      Column("ERROR") { item, _ in Table.Cell(plain(item["error"]?["code"])) },
    ], nameMember: "id")

  static let usage = Presentation(
    columns: [
      .member("QUOTA", "quota"), .member("USED", "used"), .member("LIMIT", "limit"), .member("DEFAULT", "is_default"),
    ], nameMember: "quota")

  static let quotas = Presentation(columns: [], nameMember: "")

  static let user = Presentation(
    columns: [
      .member("NAME", "name"), .member("KIND", "kind"), .member("CLOUD-ROLE", "cloud_role"),
      .member("DISABLED", "disabled"), .member("ID", "id"), .age("AGE", "created_at"),
    ], nameMember: "name")

  static let token = Presentation(
    columns: [
      .member("ID", "id"), .member("USER", "user"), .member("PROJECT", "project"), .member("ROLE", "role"),
      .member("EXPIRES", "expires_at"), .age("USED", "last_used_at"), .member("DESCRIPTION", "description"),
    ], nameMember: "id")

  static let caller = Presentation(columns: [.member("TOKEN", "token_id")], nameMember: "token_id")
}
