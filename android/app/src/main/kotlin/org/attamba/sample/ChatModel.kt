package org.attamba.sample

import android.app.Application
import androidx.lifecycle.AndroidViewModel
import java.io.File
import kotlinx.coroutines.Dispatchers
import org.attamba.Budget
import org.attamba.Model
import org.attamba.ModelOptions
import org.attamba.SessionOptions
import org.attamba.android.MemoryPressure
import org.attamba.android.openAsset

/** Keeps the chat while the activity is recreated, as when the screen is turned. */
class ChatModel(app: Application) : AndroidViewModel(app) {
    val chat =
        Chat(
            Dispatchers.Main.immediate,
            File(app.filesDir, "chat.session"),
            SessionOptions(Budget.Bytes(8L shl 20)),
            { progress ->
                val kernels = File(app.cacheDir, "attamba").path
                Model.openAsset(app, "model.gguf", ModelOptions(cacheFolder = kernels), progress)
            },
            { session -> MemoryPressure.watch(app, session) },
        )

    override fun onCleared() {
        chat.close()
    }
}
