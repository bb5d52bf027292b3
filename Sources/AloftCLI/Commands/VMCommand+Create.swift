import AloftModel
import ArgumentParser
import JSON

extension VMCommand {
  /// `aloft vm create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Create a virtual machine.",
      discussion:
        "Example: aloft vm create web1 --image debian-12 --vcpus 2 --memory 4GiB --ssh-key ~/.ssh/id_ed25519.pub")

    @Argument(help: "Its name.")
    var name: String

    @Option(help: "The image that its boot disk is cloned from, by id or name.")
    var image: String?

    @Option(help: "Virtual CPUs.")
    var vcpus: Int?

    @Option(help: ArgumentHelp("Memory: 512 (MiB), 512MiB, 2GiB.", valueName: "size"))
    var memory: MemorySize?

    @Option(help: ArgumentHelp("Boot disk: 10 (GiB), 10GiB, 1TiB. By default the image's size.", valueName: "size"))
    var disk: DiskSize?

    @Option(help: "The storage pool of its boot disk [local].")
    var diskPool: String?

    @Flag(help: "What is written to its boot disk is encrypted on its node.")
    var diskEncrypted = false

    @Option(
      help: ArgumentHelp(
        "A volume that there is, which it gets. Can be repeated. Without an image it boots from the one with the lowest boot.",
        valueName: "volume[,boot=number][,bus=virtio|scsi][,delete]"))
    var volume: [VolumeArgument] = []

    @Option(name: .shortAndLong, help: ArgumentHelp("A label. Can be repeated.", valueName: "key=value"))
    var label: [LabelPair] = []

    @Option(
      help: ArgumentHelp("A public key, or a file with public keys. Can be repeated.", valueName: "key-or-file"),
      completion: .file())
    var sshKey: [String] = []

    @Option(
      help: ArgumentHelp("A file with cloud-init user data; - is standard input.", valueName: "file"),
      completion: .file())
    var userData: String?

    @Option(help: "The host name that the guest is given.")
    var hostname: String?

    @Option(help: "How its CPU may be virtualized.")
    var accelerator: AcceleratorChoice?

    @Option(help: ArgumentHelp("A label that its node must have. Can be repeated.", valueName: "key=value"))
    var nodeSelector: [LabelPair] = []

    @Option(
      help: ArgumentHelp(
        "A network that it is connected to, by id or name. Can be repeated. By default the one named default, if there is one.",
        valueName: "network"))
    var network: [String] = []

    @Option(
      help: ArgumentHelp(
        "A NIC, where it is more than a network. Can be repeated, and subnet, address and group in it, too.",
        valueName: "network=…[,subnet=…][,address=…][,mac=…][,group=…]"))
    var nic: [NICArgument] = []

    @Flag(name: .customLong("no-network"), help: "Connect it to no network.")
    var hasNoNetwork = false

    @Flag(help: "Do not start it.")
    var stopped = false

    @OptionGroup var wait: WaitOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if image == nil, !volume.contains(where: { $0.body["boot_index"] != nil }) {
        throw ValidationError("say what it boots from: --image, or --volume with boot=1")
      }
      if [hasNoNetwork, !network.isEmpty, !nic.isEmpty].count(where: { $0 }) > 1 {
        throw ValidationError("--network, --nic and --no-network exclude each other")
      }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      let body = try await requestBody()
      let query = session.query(project, dryRun: dryRun)
      let key = session.key(key)
      let changes = WaitedChanges(session: session, wait: wait, isDryRun: dryRun.dryRun, query: session.query(project))
      try await changes.run([name]) { _ in
        APICall(.post, APIPath.path("vms"), query: query, body: body, key: key)
      }
    }

    /// The body of the request: only what was said, so that the server's defaults count.
    func requestBody() async throws(CommandFailure) -> JSONValue {
      var body: JSONObject = ["name": .string(name)]
      body.say("image", image)
      body.say("disk_pool", diskPool)
      if diskEncrypted { body["disk_encrypted"] = true }
      if !volume.isEmpty { body["volumes"] = .array(volume.map { .object($0.body) }) }
      body["vcpus"] = vcpus.map { .integer(Int64($0)) }
      body["memory_mib"] = memory.map { .integer(Int64($0.mebibytes)) }
      body["disk_gib"] = disk.map { .integer(Int64($0.gibibytes)) }
      if stopped { body["power"] = .string(Power.stopped.rawValue) }
      body["hostname"] = hostname.map { .string($0) }
      if !label.isEmpty { body["labels"] = LabelPair.object(label) }
      if !sshKey.isEmpty {
        var keys: [JSONValue] = []
        for text in sshKey { keys += try await SSHKeys.keys(from: text).map { .string($0) } }
        body["ssh_keys"] = .array(keys)
      }
      if let userData {
        let bytes = try await LocalFile(path: userData).read(limit: 65_536, purpose: "user data")
        guard let text = String(validating: bytes, as: UTF8.self) else {
          throw CommandFailure(.usage, "\(userData): user data must be text in UTF-8")
        }
        body["user_data"] = .string(text)
      }
      body["accelerator"] = accelerator.map { .string($0.rawValue) }
      if hasNoNetwork || !network.isEmpty { body["nics"] = .array(network.map { ["network": .string($0)] }) }
      if !nic.isEmpty { body["nics"] = .array(nic.map { .object($0.body) }) }
      if !nodeSelector.isEmpty { body["node_selector"] = LabelPair.object(nodeSelector) }
      return .object(body)
    }
  }
}

/// Public keys as OpenSSH writes them (sshd(8), "AUTHORIZED_KEYS FILE FORMAT").
enum SSHKeys {
  /// `text` itself when it is a key, otherwise the keys in the file of that name.
  static func keys(from text: String) async throws(CommandFailure) -> [String] {
    if isKey(text) { return [text] }
    let bytes = try await LocalFile(path: text).read(limit: 1 << 20, purpose: "the public key")
    let lines = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline).map {
      $0.drop { $0 == " " || $0 == "\t" }
    }
    let keys = lines.filter { !$0.isEmpty && !$0.hasPrefix("#") }.map(String.init)
    guard !keys.isEmpty, keys.allSatisfy(isKey) else {
      let isPrivate = lines.contains { $0.hasPrefix("-----BEGIN") }
      throw CommandFailure(
        .usage, "\(text): this is no file of public keys",
        hint: isPrivate
          ? "This is a private key; name the file that ends in .pub." : "A key begins with ssh- or ecdsa-.")
    }
    return keys
  }

  private static func isKey(_ text: String) -> Bool {
    ["ssh-", "ecdsa-", "sk-"].contains { text.hasPrefix($0) } && text.contains(" ")
  }
}
