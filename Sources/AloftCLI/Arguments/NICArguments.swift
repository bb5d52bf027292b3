import ArgumentParser
import JSON

/// `10.9.0.0/16` or `10.0.0.9/32=00:00:5e:00:01:01` on the command line: addresses that a NIC may use besides its own, with the MAC
/// address that comes with them.
struct AllowedPairArgument: ExpressibleByArgument, Sendable {
  let body: JSONValue

  init?(argument: String) {
    let parts = argument.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
    guard (1...2).contains(parts.count), parts.allSatisfy({ !$0.isEmpty }) else { return nil }
    body = parts.count == 2 ? ["cidr": .string(parts[0]), "mac": .string(parts[1])] : ["cidr": .string(parts[0])]
  }
}

/// `network=blue,address=10.0.0.7,group=web` on the command line: a NIC that a machine comes with.
struct NICArgument: ExpressibleByArgument, Sendable {
  let body: JSONObject

  /// What may be said, and what it is in the API; lists can be repeated.
  private static let words: [String: (member: String, isList: Bool)] = [
    "network": ("network", false), "subnet": ("subnets", true), "address": ("addresses", true), "mac": ("mac", false),
    "group": ("security_groups", true),
  ]

  init?(argument: String) {
    var body = JSONObject()
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      guard let pair = LabelPair(argument: String(part)), let word = Self.words[pair.key], !pair.value.isEmpty else {
        return nil
      }
      if word.isList {
        body[word.member] = .array((body[word.member]?.arrayValue ?? []) + [.string(pair.value)])
      } else {
        guard body[word.member] == nil else { return nil }
        body[word.member] = .string(pair.value)
      }
    }
    guard body["network"] != nil else { return nil }
    self.body = body
  }
}

/// `ingress:tcp:443:10.0.0.0/8` on the command line: a rule that a security group begins with. What follows the direction may be
/// left out from the end, or be empty.
struct RuleArgument: ExpressibleByArgument, Sendable {
  let body: JSONObject

  init?(argument: String) {
    let parts = argument.split(separator: ":", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
    guard ["ingress", "egress"].contains(parts[0]) else { return nil }
    var body: JSONObject = ["direction": .string(parts[0])]
    if parts.count > 1, !parts[1].isEmpty { body["protocol"] = .string(parts[1]) }
    if parts.count > 2, !parts[2].isEmpty {
      guard let ports = PortRange(argument: parts[2]) else { return nil }
      body.say("first_port", ports.first)
      body.say("last_port", ports.last)
    }
    if parts.count > 3, !parts[3].isEmpty { body["remote"] = .string(parts[3]) }
    self.body = body
  }
}
