import AloftModel
import IPAddressing

/// What a VM is told about itself, as EC2's instance metadata categories: folders, and texts in them.
indirect enum MetadataTree: Sendable {
  case text(String)
  case folder([(name: String, tree: MetadataTree)])
  /// A folder whose list says more than its names: EC2 writes keys as `0=name`.
  case named(labels: [String], entries: [(name: String, tree: MetadataTree)])

  /// The text there, or the list of the folder there; nil where there is nothing.
  func content(at path: ArraySlice<String>) -> String? {
    switch self {
    case .text(let text): return path.isEmpty ? text : nil
    case .folder(let entries), .named(_, let entries):
      guard let first = path.first else { return list }
      return entries.first { $0.name == first }?.tree.content(at: path.dropFirst())
    }
  }

  private var list: String {
    switch self {
    case .text: return ""
    case .named(let labels, _): return labels.joined(separator: "\n")
    case .folder(let entries):
      return entries.map { entry in
        if case .text = entry.tree { entry.name } else { entry.name + "/" }
      }.joined(separator: "\n")
    }
  }
}

extension MetadataTree {
  /// `meta-data`.
  static func metaData(of vm: Assignment) -> MetadataTree {
    let primary = (vm.nics ?? []).first
    var entries: [(String, MetadataTree)] = [
      ("hostname", .text(vm.fullName)),
      ("instance-id", .text(vm.vm.description)),
      ("local-hostname", .text(vm.fullName)),
    ]
    if let address = (vm.nics ?? []).lazy.compactMap({ $0.plainAddresses(isIPv6: false).first }).first {
      entries.append(("local-ipv4", .text(address)))
    }
    if let primary { entries.append(("mac", .text(primary.mac))) }
    if let nics = vm.nics, !nics.isEmpty {
      let macs = nics.enumerated().map { index, nic in (nic.mac, interface(nic, number: index, of: vm)) }
      entries.append(("network", .folder([("interfaces", .folder([("macs", .folder(macs))]))])))
    }
    entries.append(("placement", .folder([("availability-zone", .text("aloft"))])))
    if !vm.sshKeys.isEmpty {
      entries.append(
        (
          "public-keys",
          .named(
            labels: vm.sshKeys.indices.map { "\($0)=key-\($0)" },
            entries: vm.sshKeys.enumerated().map { ("\($0)", .folder([("openssh-key", .text($1))])) })
        ))
    }
    return .folder(entries)
  }

  private static func interface(_ nic: Assignment.NIC, number: Int, of vm: Assignment) -> MetadataTree {
    var entries: [(String, MetadataTree)] = [
      ("device-number", .text("\(number)")),
      ("interface-id", .text(nic.id.description)),
      ("local-hostname", .text(vm.fullName)),
    ]
    let (ipv4, ipv6) = (nic.plainAddresses(isIPv6: false), nic.plainAddresses(isIPv6: true))
    if !ipv6.isEmpty { entries.append(("ipv6s", .text(ipv6.joined(separator: "\n")))) }
    if !ipv4.isEmpty {
      entries.append(("local-ipv4s", .text(ipv4.joined(separator: "\n"))))
    }
    entries.append(("mac", .text(nic.mac)))
    let blocks = nic.subnets
    if let block = blocks.first(where: { !$0.isIPv6 }) {
      entries.append(("subnet-ipv4-cidr-block", .text(block.description)))
    }
    if blocks.contains(where: \.isIPv6) {
      let texts = blocks.filter(\.isIPv6).map(\.description)
      entries.append(("subnet-ipv6-cidr-blocks", .text(texts.joined(separator: "\n"))))
    }
    entries.append(("vpc-id", .text(nic.network.description)))
    return .folder(entries)
  }
}

extension Assignment {
  /// Its name with the domain of its first network that has one.
  var fullName: String {
    let domains = (nics ?? []).compactMap { nic in (networks ?? []).first { $0.id == nic.network }?.dnsDomain }
    return domains.first.map { "\(hostname).\($0)" } ?? hostname
  }
}

extension Assignment.NIC {
  /// Without the lengths of their subnets.
  func plainAddresses(isIPv6: Bool) -> [String] {
    addresses.map { String($0.prefix { $0 != "/" }) }.filter { IPAddress($0)?.isIPv6 == isIPv6 }
  }

  var subnets: [AddressBlock] {
    addresses.compactMap { text in
      let parts = text.split(separator: "/").map(String.init)
      guard parts.count == 2, let address = IPAddress(parts[0]), let length = Int(parts[1]) else { return nil }
      return AddressBlock(of: address, length: length)
    }
  }
}
