// The parts of the Android framework that org.attamba.android uses, so that it can be compiled, and its
// decisions tested, without an SDK. Signatures as in the framework; nothing here is shipped.

@file:Suppress("PackageDirectoryMismatch", "UNUSED_PARAMETER")

package android.content

import android.content.res.AssetManager
import android.content.res.Configuration
import android.net.Uri
import android.os.ParcelFileDescriptor

public interface ComponentCallbacks {
    public fun onConfigurationChanged(newConfig: Configuration)

    public fun onLowMemory()
}

public interface ComponentCallbacks2 : ComponentCallbacks {
    public fun onTrimMemory(level: Int)

    public companion object {
        public const val TRIM_MEMORY_RUNNING_LOW: Int = 10
        public const val TRIM_MEMORY_RUNNING_CRITICAL: Int = 15
        public const val TRIM_MEMORY_UI_HIDDEN: Int = 20
        public const val TRIM_MEMORY_BACKGROUND: Int = 40
    }
}

public abstract class Context {
    public abstract val applicationContext: Context
    public abstract val assets: AssetManager
    public abstract val contentResolver: ContentResolver

    public abstract fun registerComponentCallbacks(callback: ComponentCallbacks)

    public abstract fun unregisterComponentCallbacks(callback: ComponentCallbacks)
}

public abstract class ContentResolver {
    public abstract fun openFileDescriptor(uri: Uri, mode: String): ParcelFileDescriptor?
}
