/// The version of this program.
enum AloftVersion {
  static let number = "0.1.0"
}
