package resource

// Limits of labels. Lengths are in bytes.
const (
	MaxLabels     = 64
	MaxLabelKey   = 63
	MaxLabelValue = 256
)

// CheckLabels says what is wrong with labels. field held them, for the error, whose
// reason is InvalidField.
func CheckLabels(field string, labels map[string]string) error {
	if len(labels) > MaxLabels {
		return Errorf(InvalidField, "%d labels are given, %d are allowed", len(labels), MaxLabels).In(field)
	}
	for k, v := range labels {
		if len(k) == 0 || len(k) > MaxLabelKey {
			return Errorf(InvalidField, "the key of a label has %d bytes, 1 to %d are allowed", len(k), MaxLabelKey).In(field)
		}
		if len(v) > MaxLabelValue {
			return Errorf(InvalidField, "the label %q has %d bytes, %d are allowed", k, len(v), MaxLabelValue).In(field)
		}
	}
	return nil
}
