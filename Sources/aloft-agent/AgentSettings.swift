import ArgumentParser
import Foundation
import IPAddressing
import Logging
import NodeAgent
import ProgramSettings

/// The settings in force: options over environment over file over defaults.
struct AgentSettings: Sendable {
  var urls: [String]
  var ca: String?
  var data: String
  var libvirt: String
  var libvirtState: String
  var name: String?
  var joinToken: String?
  var capacity = CapacitySettings()
  /// Directories of storage pools beside `local`, by name.
  var pools: [String: String] = [:]
  /// Pools of Ceph clusters, by name.
  var clusters: [String: CephAccess] = [:]
  var serialLogKib: Int
  var parallel: Int
  var network = NetworkSettings()
  var logLevel: Logger.Level

  init(options: AgentOptions, environment: [String: String] = ProcessInfo.processInfo.environment) throws {
    let reader = try SettingsReader(
      AgentSetting.all, config: options.config, configVariable: AgentSetting.configVariable, environment: environment)
    urls = try reader.requiredList(
      AgentSetting.url, options.url, example: "https://aloft.example:8443, the control plane's base URL")
    ca = try reader.text(AgentSetting.ca, options.ca)
    data = try reader.text(AgentSetting.data, options.data) ?? "/var/lib/aloft-agent"
    libvirt = try reader.text(AgentSetting.libvirt, options.libvirt) ?? "qemu:///system"
    libvirtState =
      try reader.text(AgentSetting.libvirtState, options.libvirtState) ?? LibvirtHypervisor.usualStateDirectory
    name = try reader.text(AgentSetting.name, options.name)
    joinToken = try reader.text(AgentSetting.joinToken, options.joinToken)
    let large = 1 << 30
    capacity.vcpus = try reader.integer(AgentSetting.vcpus, options.vcpus, 1...4096)
    capacity.memoryMib = try reader.integer(AgentSetting.memoryMib, options.memoryMib, 64...large)
    capacity.diskGib = try reader.integer(AgentSetting.diskGib, options.diskGib, 1...large)
    capacity.reservedMemoryMib = try reader.integer(
      AgentSetting.reservedMemoryMib, options.reservedMemoryMib, 0...large)
    capacity.reservedDiskGib = try reader.integer(AgentSetting.reservedDiskGib, options.reservedDiskGib, 0...large)
    capacity.accelerator = try reader.choice(AgentSetting.accelerator, options.accelerator) ?? .auto
    serialLogKib = try reader.integer(AgentSetting.serialLogKib, options.serialLogKib, 4...(1 << 20)) ?? 1024
    parallel = try reader.integer(AgentSetting.parallel, options.parallel, 1...64) ?? 4
    network = try Self.network(reader, options)
    logLevel = try reader.choice(AgentSetting.logLevel, options.logLevel) ?? .info
    try readPools(try reader.list(AgentSetting.pool, options.pool))
    for url in urls where !url.hasPrefix("https://") && !url.hasPrefix("http://") {
      throw ValidationError("--url '\(url)' must begin with https://")
    }
    if !data.hasPrefix("/") { throw ValidationError("--data '\(data)' must be an absolute path") }
    if let (name, _) = pools.first(where: { $0.value == data }) {
      throw ValidationError("--pool '\(name)' is in the directory of --data, which is the pool `local`")
    }
  }

  private mutating func readPools(_ texts: [String]) throws {
    for text in texts {
      let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2, parts[1].hasPrefix("/") || parts[1].hasPrefix(CephAccess.settingPrefix) else {
        throw ValidationError(
          "--pool '\(text)' must be NAME=DIRECTORY with an absolute path, such as fast=/srv/fast, or NAME=rbd:POOL")
      }
      let (name, path) = (parts[0], parts[1])
      if name == DirectoryStorage.localPool {
        throw ValidationError("--pool '\(text)': the pool `local` is in the directory of --data")
      }
      if pools.keys.contains(name) || clusters.keys.contains(name) {
        throw ValidationError("--pool names the pool '\(name)' twice")
      }
      guard path.hasPrefix("/") else {
        try readCluster(name, path)
        continue
      }
      if pools.values.contains(path) { throw ValidationError("--pool names the directory '\(path)' twice") }
      pools[name] = path
    }
  }

  private mutating func readCluster(_ name: String, _ text: String) throws {
    guard let access = CephAccess(setting: text) else {
      throw ValidationError(
        "--pool '\(name)=\(text)' must be NAME=rbd:POOL[:id=CLIENT][:conf=FILE][:keyring=FILE] with absolute paths")
    }
    // Guests' disks name their pool only.
    if clusters.values.contains(where: { $0.pool == access.pool }) {
      throw ValidationError("--pool names the Ceph pool '\(access.pool)' twice")
    }
    clusters[name] = access
  }

  private static func network(_ reader: SettingsReader, _ options: AgentOptions) throws -> NetworkSettings {
    var network = NetworkSettings()
    network.ovs = try reader.text(AgentSetting.ovs, options.ovs) ?? NetworkSettings.defaultOVS
    if let fault = NetworkSettings.fault(ofRemote: network.ovs) { throw ValidationError("--ovs: \(fault)") }
    if let text = try reader.text(AgentSetting.tunnelAddress, options.tunnelAddress) {
      // The MTU of networks counts with what IPv4 adds to a packet.
      guard let address = IPAddress(text), !address.isLinkLocal, !address.isIPv6 else {
        throw ValidationError("--tunnel-address '\(text)' must be an IPv4 address that other nodes can reach")
      }
      network.tunnelAddress = address
    }
    for text in try reader.list(AgentSetting.bridgeMapping, options.bridgeMapping) {
      guard let (physical, bridge) = NetworkSettings.mapping(text) else {
        throw ValidationError("--bridge-mapping '\(text)' must be PHYSICAL=BRIDGE, such as external=br-ex")
      }
      guard network.bridgeMappings.updateValue(bridge, forKey: physical) == nil else {
        throw ValidationError("--bridge-mapping names the physical network '\(physical)' twice")
      }
    }
    network.datapath = try reader.choice(AgentSetting.datapath, options.datapath) ?? .auto
    return network
  }
}
