import ArgumentParser
import Foundation
import JSON
import Testing

@testable import AloftCLI

@Suite struct ArgumentTests {
  @Test(
    "memory is MiB unless a binary unit says otherwise",
    arguments: [
      ("512", 512), ("512MiB", 512), ("2GiB", 2048), ("2g", 2048), ("1 gib", 1024), ("1TiB", 1 << 20), ("2GB", nil),
      ("", nil), ("GiB", nil), ("-1", nil), ("1.5GiB", nil), ("99999999999999999999", nil),
      ("9007199254740993TiB", nil),
    ])
  func memory(text: String, expected: Int?) { #expect(MemorySize(argument: text)?.mebibytes == expected) }

  @Test("disk is GiB and bytes are bytes unless a binary unit says otherwise")
  func otherSizes() {
    #expect(DiskSize(argument: "10")?.gibibytes == 10)
    #expect(DiskSize(argument: "1TiB")?.gibibytes == 1024)
    #expect(DiskSize(argument: "512MiB") == nil)
    #expect(ByteCount(argument: "64KiB")?.bytes == 65_536)
  }

  @Test("a span of time is seconds unless a unit says otherwise")
  func spans() {
    #expect(["90", "90s", "10m", "2h", "7d"].map { TimeSpan(argument: $0)?.seconds } == [90, 90, 600, 7200, 604_800])
    #expect(TimeSpan(argument: "soon") == nil)
    #expect(TimeSpan(argument: "9999999d") == nil)
  }

  @Test("a label edit sets with = and removes with -")
  func labels() {
    #expect(LabelPair(argument: "a=b=c").map { [$0.key, $0.value] } == ["a", "b=c"])
    #expect(LabelPair(argument: "=b") == nil)
    #expect(LabelEdit(argument: "a-") == .remove("a"))
    #expect(LabelEdit(argument: "a=") == .set("a", ""))
    #expect(LabelEdit(argument: "a") == nil)
    #expect(
      LabelEdit.apply([.set("a", "2"), .remove("b")], to: ["a": "1", "b": "x", "c": "y"]) == ["a": "2", "c": "y"])
  }

  @Test("no name reaches another path")
  func paths() {
    #expect(APIPath.path("vms", "web1", "start") == "/v1/vms/web1/start")
    #expect(APIPath.path("vms", "../nodes") == "/v1/vms/..%2Fnodes")
    #expect(APIPath.path("vms", "..") == "/v1/vms/%2E%2E")
    #expect(APIPath.query([("label", "a=b&c"), ("x", "ü")]) == "?label=a%3Db%26c&x=%C3%BC")
    #expect(APIPath.noun(of: "/v1/node-pools/x") == "node-pool")
  }

  @Test("vm create says only what was said")
  func createBody() async throws {
    let minimal = try VMCommand.Create.parse(["web1", "--image", "tiny"])
    #expect(try await minimal.requestBody() == ["name": "web1", "image": "tiny"])
    let full = try VMCommand.Create.parse([
      "web1", "--image", "tiny", "--vcpus", "2", "--memory", "2GiB", "--disk", "10", "--label", "a=b", "--label", "c=d",
      "--ssh-key", "ssh-ed25519 AAAA me", "--hostname", "h", "--accelerator", "tcg", "--node-selector", "rack=4",
      "--stopped",
    ])
    #expect(
      try await full.requestBody() == [
        "name": "web1", "image": "tiny", "vcpus": 2, "memory_mib": 2048, "disk_gib": 10, "power": "stopped",
        "hostname": "h", "labels": ["a": "b", "c": "d"], "ssh_keys": ["ssh-ed25519 AAAA me"], "accelerator": "tcg",
        "node_selector": ["rack": "4"],
      ])
  }

  @Test("vm create takes volumes that there are, and boots from one of them when no image is said")
  func createVolumes() async throws {
    let create = try VMCommand.Create.parse([
      "web1", "--volume", "root,boot=1", "--volume", "data,bus=scsi,delete",
    ])
    #expect(
      try await create.requestBody() == [
        "name": "web1",
        "volumes": [
          ["volume": "root", "boot_index": 1], ["volume": "data", "bus": "scsi", "delete_with_vm": true],
        ],
      ])
    let pool = try VMCommand.Create.parse(["w", "--image", "i", "--disk-pool", "fast"])
    #expect(try await pool.requestBody()["disk_pool"] == "fast")
    for wrong in [["w"], ["w", "--volume", "data"], ["w", "--volume", "data,boot=x"], ["w", "--volume", "a,size=1"]] {
      #expect(throws: (any Error).self) { try VMCommand.Create.parse(wrong) }
    }
  }

  @Test("I/O limits say a rate, a burst and its seconds; bytes have units, and none removes one")
  func ioLimits() throws {
    let limits = ["total_iops=500:2000:60", "read_bytes=100M:400M", "write_iops=none"].compactMap {
      IOLimitArgument(argument: $0)
    }
    #expect(
      IOLimitArgument.object(limits) == [
        "total_iops": ["per_second": 500, "burst": 2000, "burst_seconds": 60],
        "read_bytes": ["per_second": 104_857_600, "burst": 419_430_400, "burst_seconds": 1], "write_iops": .null,
      ])
    for wrong in ["iops=5", "total_iops", "total_iops=", "read_bytes=5X", "read_iops=5M", "read_iops=5:6:7:8"] {
      #expect(IOLimitArgument(argument: wrong) == nil, "\(wrong)")
    }
    #expect(throws: (any Error).self) { try VolumeCommand.Limit.parse(["data"]) }
    #expect(throws: (any Error).self) {
      try VolumeCommand.Create.parse(["d", "--size", "1G", "--limit", "read_iops=none"])
    }
  }

  @Test("keys and user data come from files, and a private key is refused")
  func createFiles() async throws {
    let folder = try TemporaryFolder()
    let keys = try folder.file("keys", "# mine\nssh-ed25519 AAAA a\n\necdsa-sha2-nistp256 BBBB b\n")
    let data = try folder.file("data", "#cloud-config\n")
    let create = try VMCommand.Create.parse(["w", "--image", "i", "--ssh-key", keys, "--user-data", data])
    let body = try await create.requestBody()
    #expect(body["ssh_keys"] == ["ssh-ed25519 AAAA a", "ecdsa-sha2-nistp256 BBBB b"])
    #expect(body["user_data"] == "#cloud-config\n")
    let secret = try folder.file("id", "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n")
    let failure = await #expect(throws: CommandFailure.self) { try await SSHKeys.keys(from: secret) }
    #expect(failure?.status == .usage)
    #expect(failure?.hint?.contains(".pub") == true)
  }

  @Test(
    "every command parses",
    arguments: [
      "vm list --node n1 -l a=b -o json --limit 3", "vm show w", "vm create w --image i --dry-run --no-wait",
      "vm start a b --timeout 5m", "vm stop a --grace 0", "vm reboot a --force --idempotency-key k", "vm delete a b c",
      "vm rename a b", "vm label a x=y z-", "vm serial-log a --tail 4KiB --follow", "image list --project p",
      "image show i", "image create i --sha256 00 --label a=b", "image upload i /tmp/x", "image delete i j",
      "image rename i j", "image label i a=b", "node list", "node show n", "node cordon n m", "node uncordon n",
      "node move n --pool p", "node label n a-", "node delete n --force", "node-pool list", "node-pool show p",
      "node-pool set p --strategy pack --cpu-overcommit 4", "node-token create --ttl 1h --pool p --description d",
      "node-token list", "node-token show t", "node-token delete t", "operation list --status failed --resource vm_1",
      "operation show o", "operation wait o --timeout 1h", "event watch --since 4-2 --no-follow",
      "event watch --from-start -o yaml", "placement explain --vcpus 1 --memory 1GiB --disk 5", "project list",
      "project show p", "project create p --dry-run --idempotency-key k", "project rename p q", "project delete p q",
      "member list --project p --limit 2", "member show u", "member set u v --role admin -o name",
      "member remove u v --project p --dry-run", "completion zsh", "version", "api get /v1/vms --body @x", "exit-codes",
      "whoami -o json", "user list --limit 2", "user show u",
      "user create u --kind service --cloud-role auditor --disabled",
      "user update u --rename v --no-cloud-role --enable", "user delete u v --dry-run", "token list --user u",
      "token create --description d --ttl 90d --project p --role member --user u --idempotency-key k", "token show t",
      "token delete t u", "audit list --user u --operation createVM --refused --project p --limit 3",
      "audit list --resource vm_1 --since 2026-01-01T00:00:00Z", "audit export --until 2026-01-01T00:00:00Z",
      "webhook list -l a=b", "webhook show w", "webhook label w a=b", "webhook delete w x --dry-run",
      "webhook create w --to https://h.example/ --event vm.* --event image.ready --label a=b --disabled",
      "webhook update w --rename x --to https://h.example/ --event * --enable", "webhook rotate-secret w --overlap 0s",
      "webhook ping w", "webhook deliveries w --state failed --limit 3", "webhook delivery w d",
      "webhook redeliver w d e", "login --user u --password-file - --ttl 30d", "login --token --context c",
      "logout --context c", "context list -o json", "context use c", "context remove c d", "vm list --context c",
      "user set-password u --password-file f",
    ])
  func everyCommandParses(line: String) throws {
    let command = try Aloft.parseAsRoot(line.split(separator: " ").map(String.init))
    #expect(command is any ServerCommand || command is any LocalCommand)
  }

  @Test(
    "what makes no sense is a usage error",
    arguments: [
      "vm", "vm create", "vm create w", "vm create w --image i --memory 2GB", "vm list -o xml", "vm label a x",
      "vm serial-log a --offset 1 --tail 2", "event watch --since 1 --from-start", "node-pool set p", "api FETCH /",
      "api GET v1", "nonsense", "project create", "project rename p", "member set u", "member set u --role owner",
      "member set --role admin", "member remove", "vm start a --idempotency-key ü", "vm list --limit 0",
      "user create", "user create u --kind robot", "user create u --cloud-role root", "user update u",
      "user update u --enable --disable", "user update u --cloud-role admin --no-cloud-role",
      "token create --project p",
      "token create --role viewer", "token create --project p --role owner", "token delete", "webhook create w",
      "webhook update w", "webhook update w --enable --disable", "webhook deliveries w --state lost",
      "webhook redeliver w", "login --token --user u", "context use", "context remove",
    ])
  func usageErrors(line: String) async {
    let outcome = await Outcome.of(
      line.split(separator: " ").map(String.init), environment: ["ALOFT_TOKEN": "t", "ALOFT_URL": "http://127.0.0.1:1"])
    // A group without a verb shows its help, on standard output as it was asked for.
    guard line != "vm" else { return #expect(outcome.status == .success) }
    #expect(outcome.status == .usage)
    #expect(outcome.output.isEmpty)
    #expect(outcome.errors.hasPrefix("aloft: "))
    #expect(outcome.errors.contains("Usage:"))
  }
}

/// A folder that goes away with the test.
final class TemporaryFolder: Sendable {
  let path = FileManager.default.temporaryDirectory.appending(path: "aloft-cli-\(UUID().uuidString)")

  init() throws { try FileManager.default.createDirectory(at: path, withIntermediateDirectories: true) }

  deinit { try? FileManager.default.removeItem(at: path) }

  func file(_ name: String, _ text: String) throws -> String { try file(name, Array(text.utf8)) }

  func file(_ name: String, _ bytes: [UInt8]) throws -> String {
    let file = path.appending(path: name)
    try Data(bytes).write(to: file)
    return file.path
  }
}
