import faultinject as fi


def test_a_packet_is_copied():
    if (packet := fi.kmalloc(64, fi.GFP_KERNEL)) is None:
        raise MemoryError
    if (copy := fi.kmemdup(packet, 64, fi.GFP_KERNEL)) is None:
        raise MemoryError
    fi.kfree(copy)
    fi.kfree(packet)
