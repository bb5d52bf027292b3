import AloftModel
import HTTPTypes
import IPAddressing
import JSON

/// The metadata service's rules: a pure function of who asks what, when.
///
/// Invariants
/// - Who asks is found by network and source address; nothing that a request says about it is believed.
/// - Nothing is told without a token, and a token is given only to a PUT that no proxy forwarded.
struct MetadataService: Sendable {
  /// A request, as far as it matters.
  struct Question: Sendable {
    var method: HTTPRequest.Method
    var path: String
    var headers: HTTPFields
    var network: NetworkID
    var source: IPAddress
    /// Seconds of uptime.
    var now: Int
  }

  struct Answer: Sendable, Equatable {
    var status: HTTPResponse.Status
    var type = "text/plain"
    var body = ""
    var headers: HTTPFields = [:]
  }

  /// The versions of EC2's data that are answered, all alike: cloud-init and others ask for the one they were written for.
  static let versions = ["1.0", "2009-04-04", "2016-09-02", "2018-09-24", "2021-03-23", "latest"]

  var directory = MetadataDirectory()
  var tokens = MetadataTokens()

  func answer(_ question: Question) -> Answer {
    guard let vm = directory.guest(in: question.network, at: question.source) else {
      return Answer(status: .notFound, body: "no machine of this node has the address \(question.source)")
    }
    if question.headers[.forwardedFor] != nil {
      return Answer(status: .forbidden, body: "forwarded requests are not answered")
    }
    let path = question.path.split(separator: "/", omittingEmptySubsequences: true).map(String.init)
    if path.count == 3, path[0] == "latest", path[1] == "api", path[2] == "token" { return token(question, vm) }
    guard question.method == .get || question.method == .head else {
      return Answer(status: .methodNotAllowed, headers: [.allow: "GET, HEAD"])
    }
    guard let token = question.headers[.metadataToken], tokens.accepts(token, of: vm.vm, now: question.now) else {
      return Answer(
        status: .unauthorized, body: "PUT /latest/api/token gives a token for the field X-aws-ec2-metadata-token")
    }
    return content(path[...], vm) ?? Answer(status: .notFound)
  }

  private func token(_ question: Question, _ vm: Assignment) -> Answer {
    guard question.method == .put else { return Answer(status: .methodNotAllowed, headers: [.allow: "PUT"]) }
    guard let seconds = question.headers[.metadataTokenLifetime].flatMap({ Int($0) }),
      MetadataTokens.lifetimes.contains(seconds)
    else {
      return Answer(
        status: .badRequest, body: "X-aws-ec2-metadata-token-ttl-seconds has to be a number from 1 to 21600")
    }
    return Answer(
      status: .ok, body: tokens.issue(to: vm.vm, seconds: seconds, now: question.now),
      headers: [.metadataTokenLifetime: "\(seconds)"])
  }

  private func content(_ path: ArraySlice<String>, _ vm: Assignment) -> Answer? {
    guard let version = path.first else {
      return Answer(status: .ok, body: (Self.versions + ["aloft"]).joined(separator: "\n"))
    }
    if version == "aloft" { return own(path.dropFirst(), vm) }
    guard Self.versions.contains(version) else { return nil }
    let rest = path.dropFirst()
    switch rest.first {
    case nil:
      return Answer(status: .ok, body: vm.userData.isEmpty ? "meta-data/" : "meta-data/\nuser-data")
    case "meta-data":
      return MetadataTree.metaData(of: vm).content(at: rest.dropFirst()).map { Answer(status: .ok, body: $0) }
    case "user-data" where rest.count == 1 && !vm.userData.isEmpty:
      return Answer(status: .ok, type: "application/octet-stream", body: vm.userData)
    default: return nil
    }
  }

  /// Aloft's own document.
  private func own(_ path: ArraySlice<String>, _ vm: Assignment) -> Answer? {
    switch Array(path) {
    case []: return Answer(status: .ok, body: "v1/")
    case ["v1"]: return Answer(status: .ok, body: "instance")
    case ["v1", "instance"]:
      guard let bytes = try? JSONCoder.encode(InstanceDocument(vm)) else { return nil }
      return Answer(status: .ok, type: "application/json", body: String(decoding: bytes, as: UTF8.self))
    default: return nil
    }
  }
}

/// `/aloft/v1/instance`: what the VM may know of itself.
private struct InstanceDocument: Encodable {
  struct NIC: Encodable {
    var id: NICID
    var mac: String
    var addresses: [String]
    var network: NetworkID
    var networkName: String?
    var mtu: Int?
    var dnsDomain: String?
  }

  struct Disk: Encodable {
    var volume: VolumeID
    /// Names it under `/dev/disk/by-id`.
    var serial: String
  }

  var id: VMID
  var name: String
  var hostname: String
  var vcpus: Int
  var memoryMib: Int
  var disks: [Disk]
  var sshKeys: [String]
  var nics: [NIC]

  init(_ vm: Assignment) {
    id = vm.vm
    name = vm.name
    hostname = vm.hostname
    vcpus = vm.vcpus
    memoryMib = vm.memoryMib
    disks = vm.disks.map { Disk(volume: $0.volume, serial: $0.volume.serial) }
    sshKeys = vm.sshKeys
    nics = (vm.nics ?? []).map { nic in
      let network = (vm.networks ?? []).first { $0.id == nic.network }
      return NIC(
        id: nic.id, mac: nic.mac, addresses: nic.addresses, network: nic.network, networkName: network?.name,
        mtu: network?.mtu, dnsDomain: network?.dnsDomain)
    }
  }
}

extension HTTPField.Name {
  private static func known(_ name: String) -> HTTPField.Name {
    // These are constants that the type accepts.
    HTTPField.Name(name) ?? .cookie
  }

  static let forwardedFor = known("X-Forwarded-For")
  static let metadataToken = known("X-aws-ec2-metadata-token")
  static let metadataTokenLifetime = known("X-aws-ec2-metadata-token-ttl-seconds")
}
