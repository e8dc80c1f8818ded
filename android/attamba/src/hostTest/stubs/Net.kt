@file:Suppress("PackageDirectoryMismatch")

package android.net

public class Uri(private val text: String) {
    override fun toString(): String = text
}
