package device_test

const victimDir = "DEVICE_TEST_VICTIM"

func victim(string) error { return nil }
